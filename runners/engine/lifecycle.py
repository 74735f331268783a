"""The life of a stage's operators on bounded data: set up before the first element, bundles that open and end, torn down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hornbeam.runners.engine.operator import Operator


class Lifecycle:
    """Of the operators of one stage, in the order of its steps. A driver counts the elements of the open bundle in
    `in_bundle`."""

    def __init__(self, operators: Mapping[str, Operator]) -> None:
        self._operators = operators
        self._is_set_up = False
        self._is_open = False
        self.in_bundle = 0

    def begin(self) -> None:
        """Before elements: sets operators up if they are not, and opens a bundle where none is open."""
        if not self._is_set_up:
            self._is_set_up = True
            for operator in self._operators.values():
                operator.setup()
        if not self._is_open:
            self._is_open = True
            for operator in reversed(list(self._operators.values())):
                operator.start_bundle()

    def finish_input(self) -> None:
        """Lets operators give out what waits for the end of time, in the order of the steps."""
        waiting = [
            operator
            for operator in self._operators.values()
            if type(operator).finish_input is not Operator.finish_input
        ]
        if not (waiting and self._is_set_up):
            return
        self.begin()
        for operator in waiting:
            operator.finish_input()

    def finish_bundle(self) -> bool:
        """Ends the open bundle; False if there is none."""
        if not self._is_open:
            return False
        for operator in self._operators.values():
            operator.finish_bundle()
        self._is_open = False
        self.in_bundle = 0
        return True

    def commit(self) -> None:
        """What the bundles gave counts: runs bundle finalizers."""
        for operator in self._operators.values():
            operator.commit()

    def tear_down(self, failed: bool) -> None:
        """Tears the operators down, if they were set up; see `tear_down`."""
        if self._is_set_up:
            self._is_set_up = False
            tear_down(self._operators.values(), failed)


def tear_down(operators: Iterable[Operator], failed: bool) -> None:
    """Tears every operator down; an error of one counts only when nothing else went wrong (`failed`)."""
    first: BaseException | None = None
    for operator in operators:
        try:
            operator.teardown()
        except BaseException as error:
            first = first or error
    if first is not None and not failed:
        raise first
