"""What the documents show is true: their Python blocks run, and print or raise what the text block behind them says.

The blocks of one document run in order and share their names. A block marked `python raises` has to raise; the text
behind it shows the exception's message and notes (and may show the frames before). Lines of output may come in any order.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("architecture", "authoring"))]
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@attrs.frozen
class Block:
    """A fenced Python block, and the text block that directly follows it."""

    line: int
    code: str
    raises: bool
    shown: str | None


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(text))
    for index, fence in enumerate(fences):
        info = fence["info"].split()
        if info[:1] != ["python"]:
            continue
        following = fences[index + 1] if index + 1 < len(fences) else None
        shown = None
        if following and following["info"] == "text" and not text[fence.end() : following.start()].strip():
            shown = following["body"]
        yield Block(text[: fence.start()].count("\n") + 2, fence["body"], "raises" in info, shown)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_run_and_show_what_is_written(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pipeline.py"])
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    found = list(blocks(path))
    for block in found:
        code = compile("\n" * (block.line - 1) + block.code, str(path), "exec")
        output = io.StringIO()
        raised = None
        with contextlib.redirect_stdout(output):
            try:
                exec(code, vars(module))
            except Exception as error:
                if not block.raises:
                    raise
                raised = error
        where = f"{path.name}:{block.line}"
        if block.raises:
            assert raised is not None, f"{where} raises nothing"
            message = "".join(traceback.format_exception_only(raised)).rstrip()
            last = message if block.shown is None else block.shown.rstrip()
            assert last.endswith(message) or message.startswith(last), f"{where} raises\n{message}"
        elif block.shown is not None:
            assert sorted(output.getvalue().splitlines()) == sorted(block.shown.splitlines()), where
    assert found


@pytest.mark.parametrize(
    "path",
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    missing = [link for link in LINK.findall(text) if not (path.parent / link).exists()]
    assert not missing


def test_what_is_called_missing_is_missing() -> None:
    """A name or module that has come since has to leave docs/compatibility.md."""
    text = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    came = []
    for row in re.findall(r"^\| (.*) \| .* \| (.*) \|$", text, re.MULTILINE):
        modules = re.findall(r"`([\w.]+)`", row[0]) or [""]
        if len(modules) != 1 or modules[0] in ("hornbeam.", "transforms.trigger"):
            continue
        module = importlib.import_module(f"hornbeam.{modules[0]}".rstrip("."))
        missing, _, _ = row[1].partition("(they")
        came += [f"{modules[0]}.{name}" for name in re.findall(r"`(\w+)`", missing) if hasattr(module, name)]
    _, _, after = text.partition("Not there at all: ")
    listed, _, _ = after.partition(", and everything")
    for name in re.findall(r"`([\w.]+)`", listed):
        if importlib.util.find_spec(f"hornbeam.{name}") is not None:
            came.append(name)
    assert not came, "docs/compatibility.md calls missing what has come since"
