"""The argparse parser behind options: exact flag names only, value providers, and errors as exceptions."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from hornbeam.error import OptionError
from hornbeam.options.value_provider import RuntimeValueProvider, StaticValueProvider, ValueProvider

__all__ = ["OptionsParser", "near_matches"]


class _PlainHelpFormatter(argparse.HelpFormatter):
    """Shows a help text with a stray per cent sign as it is, where argparse would fail."""

    def _expand_help(self, action: argparse.Action) -> str:
        try:
            return super()._expand_help(action)
        except (ValueError, TypeError, KeyError):
            return action.help or ""


class OptionsParser(argparse.ArgumentParser):
    """The parser that option classes get in `_add_argparse_args(cls, parser)`.

    Flags are not abbreviated. A value that cannot be read raises OptionError instead of ending the process.
    """

    def __init__(self, help_text: Callable[[], str] | None = None, **kwargs: Any) -> None:
        """`help_text` is what `--help` shows, when it is more than this parser's own flags."""
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _PlainHelpFormatter)
        super().__init__(**kwargs)
        self._help_text = help_text

    def add_value_provider_argument(self, *args: str, **kwargs: Any) -> argparse.Action:
        """Like `add_argument`, but the option is a ValueProvider.

        A value on the command line gives a StaticValueProvider; without one it is a RuntimeValueProvider with
        the default, whose value a template's user supplies when the pipeline runs.
        """
        if not args:
            raise ValueError("add_value_provider_argument needs a flag, such as '--input'.")
        name = kwargs.get("dest") or args[0].lstrip("-").replace("-", "_")
        value_type = kwargs.pop("type", None) or str
        kwargs["type"] = _static_provider_of(value_type)
        kwargs["default"] = RuntimeValueProvider(
            option_name=name, value_type=value_type, default_value=kwargs.pop("default", None)
        )
        choices = kwargs.get("choices")
        if choices is not None:
            kwargs["choices"] = [StaticValueProvider(value_type, choice) for choice in choices]
        return self.add_argument(*args, **kwargs)

    def format_help(self) -> str:
        """The help text; for the parser of one class that of all known options."""
        return super().format_help() if self._help_text is None else self._help_text()

    def parse_known_flags(self, flags: list[str]) -> tuple[argparse.Namespace, list[str]]:
        """What `parse_known_args` gives; its OptionError comes without argparse's own errors behind it."""
        try:
            return self.parse_known_args(flags)
        except OptionError as error:
            raise error.with_traceback(None) from None

    def error(self, message: str) -> NoReturn:
        """Raises OptionError."""
        raise OptionError(f"Wrong pipeline option: {message.replace('argument ', '', 1)}.")

    def known_flags(self) -> frozenset[str]:
        """All flags of this parser, with their dashes."""
        return frozenset(self._option_string_actions)

    def relax_required(self) -> None:
        """Lets required options be missing: one class must not break the views of others."""
        for action in self._actions:
            action.required = False


def near_matches(name: str, known: Iterable[str]) -> str:
    """' Did you mean a or b?' when some known names are like `name`, else ''."""
    matches = difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.7)
    return f" Did you mean {' or '.join(matches)}?" if matches else ""


def _static_provider_of(value_type: Callable[[str], Any]) -> Callable[[str], ValueProvider]:
    def make(value: str) -> ValueProvider:
        return StaticValueProvider(value_type, value)

    make.__name__ = getattr(value_type, "__name__", str(value_type))
    return make
