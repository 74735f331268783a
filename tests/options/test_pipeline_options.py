"""PipelineOptions: views that share values, flags of user classes, unknown flags, errors."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import sys
from typing import Any

import pytest

from hornbeam.error import OptionError, PipelineError
from hornbeam.options.pipeline_options import (
    AzureOptions,
    DebugOptions,
    DirectOptions,
    GoogleCloudOptions,
    HadoopFileSystemOptions,
    PipelineOptions,
    PortableOptions,
    ProfilingOptions,
    S3Options,
    SetupOptions,
    StandardOptions,
    TestOptions,
    TypeOptions,
    WorkerOptions,
)
from hornbeam.options.pipeline_options_validator import PipelineOptionsValidator


class FakeOptions(PipelineOptions):
    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument("--fake_flag", action="store_true", default=False)
        parser.add_argument("--fake_number", type=int, default=-1)
        parser.add_argument("--fake_multi", action="append")
        parser.add_argument("--fake-dashed", default="d")


class FakeRequired(PipelineOptions):
    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_argument("--fake_required", required=True, help="100% needed")


def test_views_share_their_values() -> None:
    options = PipelineOptions(["--fake_number=5", "--runner=Other"])
    fake = options.view_as(FakeOptions)
    assert (fake.fake_number, fake.fake_flag, fake.fake_multi, fake.fake_dashed) == (5, False, None, "d")
    assert options.view_as(StandardOptions).runner == "Other"
    fake.fake_number = 6
    fake.view_as(StandardOptions).streaming = True
    assert options.view_as(FakeOptions).fake_number == 6
    assert options.view_as(StandardOptions).streaming is True
    assert options.get_all_options()["fake_number"] == 6


def test_flags_repeat_and_take_their_value_in_either_form() -> None:
    options = FakeOptions(["--fake_multi=a", "--fake_multi", "b", "--fake_number", "7", "--fake_flag"])
    assert (options.fake_multi, options.fake_number, options.fake_flag) == (["a", "b"], 7, True)


def test_keyword_values_win_over_flags_and_reach_other_views() -> None:
    options = PipelineOptions(["--fake_number=5"], fake_number=9, streaming=True)
    assert options.view_as(FakeOptions).fake_number == 9
    assert options.view_as(StandardOptions).streaming is True


def test_without_flags_the_command_line_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program.py", "--fake_number=3"])
    assert PipelineOptions().view_as(FakeOptions).fake_number == 3
    assert PipelineOptions([]).view_as(FakeOptions).fake_number == -1


def test_flags_are_not_abbreviated() -> None:
    options = FakeOptions(["--fake_num=3", "--stream"])
    assert options.fake_number == -1
    assert options.view_as(StandardOptions).streaming is False


def test_subclasses_of_option_classes_have_both_sets_of_flags() -> None:
    class Both(StandardOptions):
        @classmethod
        def _add_argparse_args(cls, parser: Any) -> None:
            parser.add_argument("--both_extra", default="x")

    options = Both(["--runner=R", "--both_extra=y"])
    assert (options.runner, options.both_extra) == ("R", "y")


@pytest.mark.parametrize(
    ("dictionary", "flags"),
    [
        ({"a": 1, "b": "x y"}, ["--a=1", "--b=x y"]),
        ({"fake_flag": True}, ["--fake_flag"]),
        ({"fake_flag": False}, []),
        ({"pipeline_type_check": False}, ["--no_pipeline_type_check"]),
        ({"fake_multi": ["a", "b"]}, ["--fake_multi=a", "--fake_multi=b"]),
        ({"direct_test_splits": {"a": 1}}, ['--direct_test_splits={"a": 1}']),
    ],
)
def test_from_dictionary(dictionary: dict, flags: list[str]) -> None:
    assert PipelineOptions.from_dictionary(dictionary)._flags == flags


def test_from_dictionary_leaves_none_out() -> None:
    with pytest.warns(UserWarning, match="'fake_number' is None"):
        options = PipelineOptions.from_dictionary({"fake_number": None})
    assert options.view_as(FakeOptions).fake_number == -1


def test_all_options_round_trip_through_a_dictionary() -> None:
    options = PipelineOptions(
        ["--fake_number=5", "--fake_flag", "--fake_multi=a", "--no_pipeline_type_check"]
    )
    again = PipelineOptions.from_dictionary(options.get_all_options(drop_default=True))
    assert again.get_all_options() == options.get_all_options()


def test_drop_default_leaves_what_differs() -> None:
    options = PipelineOptions(["--fake_number=5", "--fake-dashed=d"])
    assert options.get_all_options(drop_default=True) == {"fake_number": 5}
    assert options.display_data() == {"fake_number": 5}


def test_current_only_leaves_out_other_classes() -> None:
    options = PipelineOptions(["--fake_number=5", "--runner=R"]).view_as(FakeOptions)
    assert options.get_all_options(current_only=True) == {
        "fake_flag": False,
        "fake_number": 5,
        "fake_multi": None,
        "fake_dashed": "d",
    }


def test_unknown_flags_are_kept_when_asked_for() -> None:
    flags = [
        "--u1=a=b",
        "--u2",
        "v",
        "--u3",
        "--u4=1",
        "--u4=2",
        "--fake_number=5",
        "-s=x",
        "loose",
        "--u-5=6",
    ]
    options = PipelineOptions(flags, extra=7)
    known = options.get_all_options()
    assert not {"u1", "u2", "extra"} & set(known)
    kept = options.get_all_options(retain_unknown_options=True, drop_default=True)
    assert kept == {
        "u1": "a=b",
        "u2": "v",
        "u3": True,
        "u4": ["1", "2"],
        "u_5": "6",
        "s": "x",
        "fake_number": 5,
        "extra": 7,
    }


def test_unknown_flags_are_warned_about_with_near_matches(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        PipelineOptions(["--fake_numbr=5"], wrong=1).get_all_options(display_warnings=True)
    assert "--fake_numbr=5" in caplog.text
    assert "Did you mean --fake_number?" in caplog.text
    assert "wrong" in caplog.text


def test_extra_arguments_of_one_call() -> None:
    options = PipelineOptions(["--extra=5"])
    found = options.get_all_options(add_extra_args_fn=lambda parser: parser.add_argument("--extra", type=int))
    assert found["extra"] == 5


def test_a_wrong_type_names_flag_and_value() -> None:
    with pytest.raises(OptionError, match=r"--fake_number: invalid int value: 'abc'"):
        FakeOptions(["--fake_number=abc"])
    options = PipelineOptions(["--bundle_size=abc"])
    with pytest.raises(ValueError, match=r"--bundle_size: 'abc' is no number of elements"):
        options.view_as(DirectOptions)
    with pytest.raises(PipelineError, match="invalid choice: 'no'"):
        options.view_as(StandardOptions) and PipelineOptions(["--pickle_library=no"]).view_as(SetupOptions)
    with pytest.raises(PipelineError, match="expected one argument"):
        FakeOptions(["--fake_number"])


def test_what_one_class_requires_does_not_hinder_the_others() -> None:
    options = PipelineOptions([])
    assert options.get_all_options()["fake_required"] is None
    with pytest.raises(OptionError, match="--fake_required"):
        options.view_as(FakeRequired)
    assert FakeRequired([], fake_required="x").fake_required == "x"
    assert PipelineOptions(["--fake_required=y"]).view_as(FakeRequired).fake_required == "y"


def test_unknown_attributes_name_what_was_meant() -> None:
    options = FakeOptions([])
    with pytest.raises(
        AttributeError, match=r"FakeOptions has no option 'fake_nmber'\. Did you mean fake_number"
    ):
        _ = options.fake_nmber
    with pytest.raises(AttributeError, match=r"use options.view_as\(StandardOptions\).runner"):
        _ = options.runner
    with pytest.raises(AttributeError, match="has no option 'other'"):
        options.other = 1
    assert not hasattr(options, "_private")


def test_wrong_uses_say_what_to_do() -> None:
    with pytest.raises(TypeError, match="split it first"):
        PipelineOptions("--a --b")
    with pytest.raises(TypeError, match="subclass of PipelineOptions"):
        PipelineOptions([]).view_as(int)  # type: ignore[type-var]


def test_options_pickle_and_copy() -> None:
    options = PipelineOptions(["--fake_number=5"], streaming=True)
    options.view_as(FakeOptions).fake_flag = True
    for twin in (pickle.loads(pickle.dumps(options)), copy.deepcopy(options)):
        assert twin.get_all_options() == options.get_all_options()
        twin.view_as(FakeOptions).fake_number = 1
        assert options.view_as(FakeOptions).fake_number == 5


def test_help_shows_the_flags_of_all_classes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        PipelineOptions(["--help"])
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    assert "--fake_number" in shown and "--memory_limit" in shown and "--runner" in shown


def test_two_classes_of_one_name_are_the_last_one() -> None:
    def define(default: str) -> type[PipelineOptions]:
        class Redefined(PipelineOptions):
            @classmethod
            def _add_argparse_args(cls, parser: Any) -> None:
                parser.add_argument("--redefined", default=default)

        return Redefined

    _kept = define("old"), define("new")
    assert PipelineOptions([]).get_all_options()["redefined"] == "new"


def test_defaults_of_beams_flags() -> None:
    options = PipelineOptions([])
    standard, types = options.view_as(StandardOptions), options.view_as(TypeOptions)
    assert (standard.runner, standard.streaming, standard.resource_hints) == ("DirectRunner", False, [])
    assert types.pipeline_type_check is True and types.type_check_strictness == "DEFAULT_TO_ANY"
    assert types.runtime_type_check is types.allow_unsafe_triggers is False
    direct = options.view_as(DirectOptions)
    assert (direct.direct_num_workers, direct.direct_running_mode) == (1, "in_memory")
    assert (direct.bundle_size, direct.memory_limit, direct.no_progress) == (0, None, False)
    assert options.view_as(SetupOptions).save_main_session is False
    assert options.view_as(ProfilingOptions).profile_sample_rate == 1.0


def test_known_runners() -> None:
    assert StandardOptions.DEFAULT_RUNNER in StandardOptions.KNOWN_RUNNER_NAMES
    assert {"DirectRunner", "FnApiRunner", "BundleBasedDirectRunner", "PrismRunner"} <= set(
        StandardOptions.LOCAL_RUNNERS
    )


EXISTING_COMMAND_LINE = """
    --runner=DataflowRunner --project=p --region=r --temp_location=gs://b/t --staging_location=gs://b/s
    --job_name=j --num_workers=3 --worker_machine_type=n1 --experiments=a=1 --experiments=b --labels=x=y
    --setup_file=./setup.py --save_main_session --requirements_file=r.txt --no_use_public_ips
    --s3_endpoint_url=http://x --hdfs_host=h --hdfs_port=1 --hdfs_user=u --environment_type=LOOPBACK
"""


def test_command_lines_of_existing_pipelines_parse() -> None:
    options = PipelineOptions(EXISTING_COMMAND_LINE.split())
    cloud, worker = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    assert (cloud.project, cloud.region, cloud.job_name, cloud.labels) == ("p", "r", "j", ["x=y"])
    assert (worker.num_workers, worker.machine_type, worker.use_public_ips) == (3, "n1", False)
    assert options.view_as(S3Options).s3_endpoint_url == "http://x"
    assert options.view_as(SetupOptions).save_main_session is True
    assert options.view_as(PortableOptions).environment_type == "LOOPBACK"
    debug = options.view_as(DebugOptions)
    assert (debug.lookup_experiment("a"), debug.lookup_experiment("b")) == ("1", True)
    assert debug.lookup_experiment("c", "default") == "default"
    debug.add_experiment("c")
    debug.add_experiment("c")
    assert options.view_as(DebugOptions).experiments == ["a=1", "b", "c"]
    assert json.dumps(options.get_all_options(drop_default=True))


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ([], None),
        (["--profile_sample_rate=2"], "--profile_sample_rate=2.0 must be between 0 and 1"),
        (["--num_workers=5", "--max_num_workers=2"], "--num_workers=5 is more than"),
        (["--hdfs_host=h"], "also needs --hdfs_port, --hdfs_user"),
        (["--azure_connection_string=a", "--blob_service_endpoint=b"], "exclude each other"),
        (["--experiments=a,b"], "one experiment per flag"),
        (["--update"], "--update needs --job_name"),
    ],
)
def test_validator(flags: list[str], error: str | None) -> None:
    errors = PipelineOptionsValidator(PipelineOptions(flags)).validate()
    assert (not errors) if error is None else (len(errors) == 1 and error in errors[0])


def test_validate_methods_stand_alone() -> None:
    assert AzureOptions([]).validate(None) == HadoopFileSystemOptions([]).validate(None) == []
    assert TestOptions([]).validate(None) == TypeOptions([]).validate(None) == []


@pytest.mark.parametrize(
    ("version", "prior"),
    [(None, False), ("2.40.0", True), ("2.51", True), ("2.52.0", False), ("2.60.1", False)],
)
def test_compatibility_version(version: str | None, prior: bool) -> None:
    flags = [f"--update_compatibility_version={version}"] if version else []
    assert PipelineOptions(flags).is_compat_version_prior_to("2.52.0") is prior
