"""Regex: transforms that match, find, replace and split strings by regular expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hornbeam.transforms.core import FlatMap, Map
from hornbeam.transforms.ptransform import ptransform_fn

Pattern = str | re.Pattern[str]
Group = int | str


class Regex:
    """Transforms of strings by a regular expression, given as a string or compiled.

    `group` names a group by number or name; group 0 is the whole match; `Regex.ALL` means all of them.
    Elements that do not match give no output, except where stated.
    """

    ALL = "__regex_all_groups"

    @staticmethod
    @ptransform_fn
    def matches(pcoll: Any, regex: Pattern, group: Group = 0) -> Any:
        """The group, where the element's beginning matches (end the expression with `$` for all of it).

        With `Regex.ALL`, the list of all groups, the whole match first.

        >>> import hornbeam as beam
        >>> ["a1", "b", "a2!"] | beam.Regex.matches(r"a(\\d)", group=1)
        ['1', '2']
        """
        pattern = re.compile(regex)

        def matches(element: str) -> Iterator[Any]:
            match = pattern.match(element)
            if match:
                yield _groups(match) if group == Regex.ALL else match.group(group)

        return pcoll | FlatMap(matches)

    @staticmethod
    @ptransform_fn
    def all_matches(pcoll: Any, regex: Pattern) -> Any:
        """The list of all groups, the whole match first, where the element's beginning matches.

        >>> import hornbeam as beam
        >>> ["k=v", "?"] | beam.Regex.all_matches(r"(\\w)=(\\w)")
        [['k=v', 'k', 'v']]
        """
        return pcoll | Regex.matches(regex, Regex.ALL)

    @staticmethod
    @ptransform_fn
    def matches_kv(pcoll: Any, regex: Pattern, keyGroup: Group, valueGroup: Group = 0) -> Any:
        """Pairs of two groups, where the element's beginning matches.

        With `valueGroup=Regex.ALL` the value is the list of all groups.

        >>> import hornbeam as beam
        >>> ["k=v", "?"] | beam.Regex.matches_kv(r"(\\w)=(\\w)", keyGroup=1, valueGroup=2)
        [('k', 'v')]
        """
        pattern = re.compile(regex)

        def matches_kv(element: str) -> Iterator[tuple[Any, Any]]:
            match = pattern.match(element)
            if match:
                value = _groups(match) if valueGroup == Regex.ALL else match.group(valueGroup)
                yield match.group(keyGroup), value

        return pcoll | FlatMap(matches_kv)

    @staticmethod
    @ptransform_fn
    def find(pcoll: Any, regex: Pattern, group: Group = 0) -> Any:
        """The group of the first match anywhere in the element.

        >>> import hornbeam as beam
        >>> ["see a1, a2", "none"] | beam.Regex.find(r"a(\\d)")
        ['a1']
        """
        pattern = re.compile(regex)

        def find(element: str) -> Iterator[Any]:
            match = pattern.search(element)
            if match:
                yield _groups(match) if group == Regex.ALL else match.group(group)

        return pcoll | FlatMap(find)

    @staticmethod
    @ptransform_fn
    def find_all(pcoll: Any, regex: Pattern, group: Group = 0, outputEmpty: bool = True) -> Any:
        """For every element the list of the group in each of its matches; an empty list when there are none.

        With `Regex.ALL` the list holds tuples of all groups, the whole match first. Without `outputEmpty`,
        matches whose group is empty (with `Regex.ALL`: all of whose groups are) are left out of the list.

        >>> import hornbeam as beam
        >>> ["a1 a2", "none"] | beam.Regex.find_all(r"a(\\d)", group=1)
        [['1', '2'], []]
        """
        pattern = re.compile(regex)

        def find_all(element: str) -> list[Any]:
            matches = pattern.finditer(element)
            if group == Regex.ALL:
                found = ((match.group(), *match.groups()) for match in matches)
                return [groups for groups in found if outputEmpty or any(groups[1:] or groups)]
            return [match.group(group) for match in matches if outputEmpty or match.group(group)]

        return pcoll | Map(find_all)

    @staticmethod
    @ptransform_fn
    def find_kv(pcoll: Any, regex: Pattern, keyGroup: Group, valueGroup: Group = 0) -> Any:
        """A pair of two groups for every match anywhere in the element.

        >>> import hornbeam as beam
        >>> ["a=1, b=2"] | beam.Regex.find_kv(r"(\\w)=(\\w)", keyGroup=1, valueGroup=2)
        [('a', '1'), ('b', '2')]
        """
        pattern = re.compile(regex)

        def find_kv(element: str) -> Iterator[tuple[Any, Any]]:
            for match in pattern.finditer(element):
                value = _groups(match) if valueGroup == Regex.ALL else match.group(valueGroup)
                yield match.group(keyGroup), value

        return pcoll | FlatMap(find_kv)

    @staticmethod
    @ptransform_fn
    def replace_all(pcoll: Any, regex: Pattern, replacement: str) -> Any:
        """Every element with all matches replaced.

        >>> import hornbeam as beam
        >>> ["a-b-c"] | beam.Regex.replace_all("-", "+")
        ['a+b+c']
        """
        pattern = re.compile(regex)
        return pcoll | Map(lambda element: pattern.sub(replacement, element))

    @staticmethod
    @ptransform_fn
    def replace_first(pcoll: Any, regex: Pattern, replacement: str) -> Any:
        """Every element with its first match replaced.

        >>> import hornbeam as beam
        >>> ["a-b-c"] | beam.Regex.replace_first("-", "+")
        ['a+b-c']
        """
        pattern = re.compile(regex)
        return pcoll | Map(lambda element: pattern.sub(replacement, element, count=1))

    @staticmethod
    @ptransform_fn
    def split(pcoll: Any, regex: Pattern, outputEmpty: bool = False) -> Any:
        """For every element the list of what stands between the matches, empty strings only if asked for.

        >>> import hornbeam as beam
        >>> ["a, b,, c"] | beam.Regex.split(r",\\s*")
        [['a', 'b', 'c']]
        """
        pattern = re.compile(regex)

        def split(element: str) -> list[str]:
            parts = pattern.split(element)
            return parts if outputEmpty else [part for part in parts if part]

        return pcoll | Map(split)


def _groups(match: re.Match[str]) -> list[str | None]:
    """All groups, the whole match first."""
    return [match.group(), *match.groups()]
