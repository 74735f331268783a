"""PipelineOptions: one set of flags and values, seen through typed views that share it."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from hornbeam.display import HasDisplayData
from hornbeam.options.argument_parser import OptionsParser, near_matches
from hornbeam.options.value_provider import StaticValueProvider, ValueProvider

__all__ = ["PipelineOptions"]

_LOG = logging.getLogger(__name__)

OptionsT = TypeVar("OptionsT", bound="PipelineOptions")


class PipelineOptions(HasDisplayData):
    """Options of a pipeline run, from flags like `--runner=DirectRunner` and from keyword arguments.

    A subclass declares flags of its own::

        class WordCountOptions(PipelineOptions):
            @classmethod
            def _add_argparse_args(cls, parser):
                parser.add_argument("--input", required=True)

        options = PipelineOptions(["--input=a.txt"])
        options.view_as(WordCountOptions).input    # 'a.txt'

    All views made from the same object share their values: what is set through one is seen through the
    others. Flags that the viewing class does not know are kept for other views. Keyword arguments win over
    flags. Flags are not abbreviated.
    """

    _flags: list[str]
    _all_options: dict[str, Any]
    _visible: frozenset[str]

    def __init__(self, flags: Iterable[str] | None = None, **kwargs: Any) -> None:
        """`flags` are `--name=value` strings; None takes the process's command line.

        Raises OptionError for a value that an option's type refuses.
        """
        if isinstance(flags, str):
            raise TypeError(f"Options need a list of flags, not the string {flags!r}; split it first.")
        flags = sys.argv[1:] if flags is None else [str(flag) for flag in flags]
        self._flags = flags
        self._all_options = dict(kwargs)
        self._visible = self._parse_visible()

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        """Declares the flags of this class; for subclasses to override."""

    @classmethod
    def from_dictionary(cls: type[OptionsT], options: Mapping[str, Any]) -> OptionsT:
        """Options from names and values, such as those of `get_all_options`.

        True is a bare flag, a list repeats its flag; None, and a ValueProvider that has no value yet, are left out.
        """
        flags: list[str] = []
        for name, value in options.items():
            if isinstance(value, ValueProvider):
                if not isinstance(value, StaticValueProvider):
                    continue
                value = value.get()
            if isinstance(value, bool):
                flags.extend(_flags_of_switch(name, value))
            elif isinstance(value, (list, tuple)):
                flags.extend(f"--{name}={item}" for item in value)
            elif isinstance(value, dict):
                flags.append(f"--{name}={json.dumps(value)}")
            elif value is None:
                warnings.warn(f"Option {name!r} is None and is left out.", stacklevel=2)
            else:
                flags.append(f"--{name}={value}")
        return cls(flags)

    def view_as(self, cls: type[OptionsT]) -> OptionsT:
        """The same options seen through another class. Raises OptionError when one of its flags is wrong."""
        if not (isinstance(cls, type) and issubclass(cls, PipelineOptions)):
            raise TypeError(f"view_as needs a subclass of PipelineOptions; found {cls!r}.")
        view = object.__new__(cls)
        view._flags = self._flags
        view._all_options = self._all_options
        view._visible = view._parse_visible()
        return view

    def get_all_options(
        self,
        drop_default: bool = False,
        add_extra_args_fn: Callable[[OptionsParser], None] | None = None,
        retain_unknown_options: bool = False,
        display_warnings: bool = False,
        current_only: bool = False,
    ) -> dict[str, Any]:
        """All options that any loaded PipelineOptions class declares, with their values.

        Args:
          drop_default: leave out options that have their default value.
          add_extra_args_fn: declares more flags on the parser, for this call.
          retain_unknown_options: keep what no class declares, as text, True, or a list of these.
          display_warnings: log a warning about what is not kept.
          current_only: only the options of this view's class.
        """
        parser = OptionsParser(conflict_handler="resolve")
        for cls in [type(self)] if current_only else _all_classes(PipelineOptions):
            _declare(cls, parser, own_only=not current_only)
        if add_extra_args_fn is not None:
            add_extra_args_fn(parser)
        parser.relax_required()
        known, unknown = parser.parse_known_flags(self._flags)
        result = vars(known)
        if unknown:
            if retain_unknown_options:
                for name, value in _parse_unknown(unknown).items():
                    result.setdefault(name, value)
            elif display_warnings:
                _warn_of_unknown(unknown, parser)
        leftover = dict(self._all_options)
        for name in list(result):
            if name in leftover:
                result[name] = leftover.pop(name)
            if drop_default and _is_default(result[name], parser.get_default(name)):
                del result[name]
        if leftover and not current_only:
            if retain_unknown_options:
                result.update(leftover)
            elif display_warnings:
                _LOG.warning("Options that no class declares are left out: %s", sorted(leftover))
        return result

    def display_data(self) -> dict[str, Any]:
        """The options that differ from their defaults, for showing."""
        return self.get_all_options(drop_default=True, retain_unknown_options=True)

    def is_compat_version_prior_to(self, breaking_change_version: str) -> bool:
        """Whether `--update_compatibility_version` asks for behaviour from before a version."""
        wanted = self.get_all_options(retain_unknown_options=True).get("update_compatibility_version")
        return bool(wanted) and _version(str(wanted)) < _version(breaking_change_version)

    def _parse_visible(self) -> frozenset[str]:
        """Reads the flags of this class into the shared values; answers the names of its options."""
        parser = OptionsParser(help_text=_help_of_all)
        _declare(type(self), parser, own_only=False)
        for action in parser._actions:
            if action.dest in self._all_options:
                action.required = False
        visible = vars(parser.parse_known_flags(self._flags)[0])
        for name, value in visible.items():
            self._all_options.setdefault(name, value)
        return frozenset(visible)

    def __getattr__(self, name: str) -> Any:
        # Called only for names that ordinary lookup does not find.
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._visible:
            return self._all_options[name]
        raise AttributeError(self._unknown_option(name))

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            self.__dict__[name] = value
        elif name in self._visible:
            self._all_options[name] = value
        else:
            raise AttributeError(self._unknown_option(name))

    def _unknown_option(self, name: str) -> str:
        owners = [cls.__name__ for cls in _all_classes(PipelineOptions) if name in _names_of(cls)]
        if owners:
            advice = f" It belongs to {owners[0]}: use options.view_as({owners[0]}).{name}."
        else:
            advice = near_matches(name, self._visible)
        return f"{type(self).__name__} has no option {name!r}.{advice}"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._visible})

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={self._all_options[name]!r}" for name in sorted(self._visible))
        return f"{type(self).__name__}({shown})"


def _all_classes(root: type[PipelineOptions]) -> list[type[PipelineOptions]]:
    """All subclasses by order of definition; of several with one name the last (redefined in a notebook)."""
    found: dict[str, type[PipelineOptions]] = {}
    queue = list(root.__subclasses__())
    while queue:
        cls = queue.pop(0)
        found[cls.__name__] = cls
        queue.extend(cls.__subclasses__())
    return list(found.values())


def _declare(cls: type[PipelineOptions], parser: OptionsParser, own_only: bool) -> None:
    """Adds the flags of a class, and of its parents unless `own_only`."""
    for owner in [cls] if own_only else reversed(cls.__mro__):
        declare = owner.__dict__.get("_add_argparse_args")
        if declare is not None and issubclass(owner, PipelineOptions):
            declare.__get__(None, owner)(parser)


def _names_of(cls: type[PipelineOptions]) -> frozenset[str]:
    parser = OptionsParser(add_help=False, conflict_handler="resolve")
    _declare(cls, parser, own_only=True)
    return frozenset(action.dest for action in parser._actions)


def _flags_of_switch(name: str, value: bool) -> list[str]:
    """The flag that gives a switch its value: a bare one for True, for False the one that turns it off."""
    for cls in _all_classes(PipelineOptions):
        parser = OptionsParser(add_help=False, conflict_handler="resolve")
        _declare(cls, parser, own_only=True)
        for action in parser._actions:
            if action.dest == name and action.const is value and action.option_strings:
                return [action.option_strings[0]]
    return [f"--{name}"] if value else []


def _help_of_all() -> str:
    parser = OptionsParser(conflict_handler="resolve", description="Pipeline options.")
    for cls in _all_classes(PipelineOptions):
        _declare(cls, parser, own_only=True)
    return parser.format_help()


def _parse_unknown(arguments: list[str]) -> dict[str, Any]:
    """Values of undeclared flags: `--a=b`, `--a b`, a bare `--a` as True; several of one name as a list."""
    found: dict[str, Any] = {}
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if not argument.startswith("-") or not argument.lstrip("-"):
            continue
        name, has_value, value = argument.lstrip("-").partition("=")
        parsed: Any = value
        if not has_value:
            parsed = True
            if position < len(arguments) and not arguments[position].startswith("-"):
                parsed = arguments[position]
                position += 1
        name = name.replace("-", "_")
        if name not in found:
            found[name] = parsed
        elif isinstance(found[name], list):
            found[name].append(parsed)
        else:
            found[name] = [found[name], parsed]
    return found


def _warn_of_unknown(unknown: list[str], parser: OptionsParser) -> None:
    hints = "".join(
        near_matches(flag.partition("=")[0], parser.known_flags()) for flag in unknown if flag.startswith("-")
    )
    _LOG.warning("Arguments that no options class declares are left out: %s.%s", unknown, hints)


def _is_default(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _version(text: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in text.split("."):
        digits = "".join(char for char in part if char.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
