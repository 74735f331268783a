"""A function given as source text, so that it can stand in a configuration file or come from another language."""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
from collections.abc import Callable
from typing import Any

from hornbeam.error import PipelineError

_DOTTED_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class PythonCallableError(PipelineError, ValueError):
    """Source text that does not define a callable."""


class PythonCallableWithSource:
    """A callable made of source text; it is pickled as that text.

    The source is an expression (`lambda x: x + 1`), a dotted name (`math.sqrt`), or statements, of which the
    last one defines a function or class.

    >>> PythonCallableWithSource("lambda x: x + 1")(2)
    3
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._callable = self.load_from_source(source)

    @classmethod
    def load_from_source(cls, source: str) -> Callable[..., Any]:
        """The callable that the source means."""
        text = textwrap.dedent(source).strip()
        if _DOTTED_NAME.fullmatch(text):
            return cls.load_from_fully_qualified_name(text)
        try:
            ast.parse(text, mode="eval")
        except SyntaxError:
            return cls.load_from_script(text)
        return cls.load_from_expression(text)

    @staticmethod
    def load_from_expression(source: str) -> Callable[..., Any]:
        """The value of an expression."""
        return _callable(eval(source.strip(), {}), source)

    @staticmethod
    def load_from_fully_qualified_name(fully_qualified_name: str) -> Callable[..., Any]:
        """What a dotted name leads to: a builtin, or something inside a module that can be imported."""
        parts = fully_qualified_name.split(".")
        if len(parts) == 1:
            return _callable(eval(fully_qualified_name, {}), fully_qualified_name)
        for end in range(len(parts) - 1, 0, -1):
            try:
                found: Any = importlib.import_module(".".join(parts[:end]))
            except ModuleNotFoundError as error:
                if end > 1 and error.name is not None and ".".join(parts[:end]).startswith(error.name):
                    continue
                raise
            for part in parts[end:]:
                found = getattr(found, part)
            return _callable(found, fully_qualified_name)
        raise PythonCallableError(f"{fully_qualified_name!r} is not a name of the form module.name.")

    @staticmethod
    def load_from_script(source: str, method_name: str | None = None) -> Callable[..., Any]:
        """What statements define as `method_name`, or else the last function, class or name that they define."""
        text = textwrap.dedent(source)
        tree = ast.parse(text)
        if method_name is None:
            method_name = _last_name(tree)
        if method_name is None:
            raise PythonCallableError(
                f"The last statement must define a function or a class: {source!r:.200}"
            )
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(tree, "<python callable>", "exec"), names)
        if method_name not in names:
            raise PythonCallableError(f"{method_name!r} is not defined in {source!r:.200}")
        return _callable(names[method_name], source)

    def default_label(self) -> str:
        """A label for transforms made of it: the text, shortened."""
        text = " ".join(self._source.split())
        return text if len(text) <= 40 else text[:37] + "..."

    def get_source(self) -> str:
        """The text."""
        return self._source

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._callable(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return (
            self._source == other._source if isinstance(other, PythonCallableWithSource) else NotImplemented
        )

    def __hash__(self) -> int:
        return hash(self._source)

    def __repr__(self) -> str:
        return f"PythonCallableWithSource({self._source!r})"

    def __reduce__(self) -> tuple[type[PythonCallableWithSource], tuple[str]]:
        return PythonCallableWithSource, (self._source,)


def _last_name(tree: ast.Module) -> str | None:
    last = tree.body[-1] if tree.body else None
    if isinstance(last, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return last.name
    if isinstance(last, ast.Assign) and isinstance(last.targets[-1], ast.Name):
        return last.targets[-1].id
    return None


def _callable(value: Any, source: str) -> Callable[..., Any]:
    if not callable(value):
        raise PythonCallableError(f"{source!r:.200} gives {value!r:.100}, which cannot be called.")
    result: Callable[..., Any] = value
    return result
