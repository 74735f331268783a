"""What is printed for an exception that ends a program: the author's frames, the message alone, or all of it for a bug."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import hornbeam as beam
from hornbeam import uncaught
from hornbeam.error import InternalError, OptionError
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.direct import direct_runner
from hornbeam.storage.errors import MissingFileError


def shown(cause: Callable[[], object], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that a program would end with which does that."""
    with pytest.raises(BaseException) as caught:
        cause()
    frames = caught.tb
    uncaught._print(caught.type, caught.value, frames)
    assert caught.value.__traceback__ is frames  # for whoever looks at it afterwards
    return capsys.readouterr().err.splitlines()


def run(*flags: str) -> None:
    p = beam.Pipeline(options=PipelineOptions([*flags]))
    p | beam.Create([{"a": 1}]) | "Look" >> beam.Map(lambda d: d["b"])
    p.run().wait_until_finish()


def applied_wrongly() -> None:
    beam.Pipeline() | beam.Create([1]) | len  # type: ignore[operator]


def paired_wrongly() -> None:
    beam.Pipeline() | beam.Create([1]) | "Group" >> beam.GroupByKey()


@pytest.mark.parametrize("runner", ["DirectRunner", "MultiProcessRunner"])
def test_of_code_that_raises_the_authors_frames_are_shown(
    runner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(lambda: run(f"--runner={runner}", "--num_workers=1"), capsys)
    files = [line for line in lines if line.startswith('  File "')]
    assert files
    assert all(__file__ in line for line in files if "site-packages" not in line)
    assert "in <lambda>" in files[-1]
    assert lines[lines.index("KeyError: 'b'") + 1] == "while running step 'Look' on element {'a': 1}"


@pytest.mark.parametrize("cause", [applied_wrongly, paired_wrongly])
def test_of_a_mistake_in_the_pipeline_its_line_is_shown(
    cause: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(cause, capsys)
    assert [line for line in lines if line.startswith('  File "')][-1].endswith(f"in {cause.__name__}")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            ["--memory_limit=lots"],
            "hornbeam.error.OptionError: Wrong pipeline option: --memory_limit: 'lots' is no amount",
        ),
        (["--runner=Nobody"], "hornbeam.error.OptionError: Unknown runner 'Nobody'."),
        (["--runner=LogRunner"], "hornbeam.error.OptionError: LogRunner needs --log_dir"),
        (
            ["--runner=LogRunner", f"--log_dir={__file__}", "--job_name=j"],
            "hornbeam.error.OptionError: --log_dir=",
        ),
    ],
)
def test_of_what_is_wrong_around_the_pipeline_the_message_is_shown(
    flags: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (told,) = shown(lambda: run(*flags), capsys)
    assert told.startswith(line)


def raising_within_a_runner(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Callable[[], None]:
    # As if it were a function of the runner's.
    scope = {"__name__": direct_runner.__name__, "error": error}
    exec("def validate(graph):\n  raise error", scope)
    monkeypatch.setattr(direct_runner, "validate", scope["validate"])
    return run


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), InternalError("ours")])
def test_a_bug_of_ours_is_shown_whole(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(raising_within_a_runner(monkeypatch, error), capsys)
    assert any("pipeline.py" in line for line in lines)


def test_an_error_of_storage_says_it_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = MissingFileError("/a/b", "open", "no such file")
    lines = shown(raising_within_a_runner(monkeypatch, error), capsys)
    assert lines == ["hornbeam.storage.errors.MissingFileError: open /a/b: no such file"]


def test_everything_is_shown_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HORNBEAM_TRACEBACK", "full")
    lines = shown(lambda: run("--runner=LogRunner"), capsys)
    assert any("log_runner.py" in line for line in lines)


def test_what_has_nothing_to_do_with_pipelines_is_shown_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise OptionError("mine")

    assert any("in fail" in line for line in shown(fail, capsys))


PROGRAM = """
import sys
import types
import hornbeam as beam
{before}
beam.Pipeline(argv=["--memory_limit=lots"]).run()
"""


@pytest.mark.parametrize(
    ("before", "printed"),
    [
        ("", "hornbeam.error.OptionError: Wrong pipeline option: --memory_limit"),
        ("sys.excepthook = lambda *_: print('their own', file=sys.stderr)", "their own"),
    ],
)
def test_as_a_process(before: str, printed: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(PROGRAM.format(before=before))
    environment = {name: value for name, value in os.environ.items() if name != "HORNBEAM_TRACEBACK"}
    ended = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    (line,) = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert line.startswith(printed)


class Opens(beam.DoFn):
    """Fails as our own steps do: by an error of ours that another one of ours led to."""

    def setup(self) -> None:
        raise MissingFileError("/a/b", "open", "no such file") from OSError("beneath")

    def process(self, element: int) -> None:
        """Is not come to."""


def test_an_error_of_storage_in_a_step_says_it_all_unless_the_authors_code_ran_into_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        p = beam.Pipeline()
        p | beam.Create([1]) | "Open" >> beam.ParDo(Opens())
        p.run()

    lines = shown(fail, capsys)
    assert any("in setup" in line for line in lines)  # the author's
    ours = {**Opens.setup.__globals__, "__name__": "hornbeam.io.somewhere"}
    monkeypatch.setattr(Opens, "setup", types.FunctionType(Opens.setup.__code__, ours))
    assert shown(fail, capsys) == [
        "hornbeam.storage.errors.MissingFileError: open /a/b: no such file",
        "while running step 'Open, setup'",
    ]
