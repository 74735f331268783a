"""What enters a grouping: (key, value) pairs, with their keys as tables hold them and the timestamps their outputs get."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from hornbeam.runners.engine.bundle import Bundle, Coded, Intervals
from hornbeam.runners.engine.element_identity import element_identity
from hornbeam.runners.engine.failures import Failure, add_failure, short_repr
from hornbeam.runners.engine.folding import Folding
from hornbeam.runners.engine.keys import canonical_key, have_raw_keys
from hornbeam.transforms.window import TimestampCombiner, WindowFn
from hornbeam.utils.timestamp import Timestamp


@attrs.frozen
class GroupingSpec:
    """What a grouping needs to know of its step."""

    label: str
    window_fn: WindowFn
    timestamp_combiner: str
    encode_key: Callable[[Any], bytes]
    folding: Folding


class Pairs:
    """Checks and unwraps the pairs of a bundle: their table keys and whether those are the user's own."""

    def __init__(self, spec: GroupingSpec) -> None:
        self._spec = spec

    def check(self, bundle: Bundle) -> list[tuple[Any, Any]]:
        """The bundle's pairs with keys as tables hold them. TypeError when an element is no pair."""
        values = bundle.values
        if type(values[0]) is not tuple:
            refuse_non_pairs(self._spec.label, values)
        try:
            raw = have_raw_keys(values)
        except (TypeError, IndexError, KeyError):
            refuse_non_pairs(self._spec.label, values)
            raise
        if raw:
            return values
        encode = self._spec.encode_key
        try:
            return [(canonical_key(key, encode), value) for key, value in values]
        except Exception as error:
            add_failure(error, Failure(self._spec.label))
            raise


def refuse_non_pairs(label: str, values: list[Any]) -> None:
    """TypeError that names the first element that is no pair, if there is one."""
    for value in values:
        if not (isinstance(value, (tuple, list)) and len(value) == 2):
            raise not_a_pair(label, value) from None


def not_a_pair(label: str, value: Any) -> TypeError:
    """The error for an element that is no pair."""
    error = TypeError(
        f"GroupByKey at {label!r} needs (key, value) pairs; it got {short_repr(value)}, "
        f"a {type(value).__name__}. Add beam.Map(lambda x: (key, x)) before it."
    )
    add_failure(error, Failure(label, short_repr(value), identity=element_identity(value)))
    return error


def keep_stamps(
    spec: GroupingSpec, stamps: dict[Any, int], window: Any, keys: Iterable[Any], times: Iterable[int]
) -> None:
    """Remembers for each table key the timestamp that its output in `window` will get."""
    combiner = spec.timestamp_combiner
    if combiner == TimestampCombiner.OUTPUT_AT_LATEST:
        for key, time in zip(keys, times):
            if key not in stamps or time > stamps[key]:
                stamps[key] = time
        return
    transform = combiner == TimestampCombiner.OUTPUT_AT_EARLIEST_TRANSFORMED
    for key, time in zip(keys, times):
        if transform:
            time = spec.window_fn.get_transformed_output_time(window, Timestamp(micros=time)).micros
        if key not in stamps or time < stamps[key]:
            stamps[key] = time


def places_by_window(
    bundle: Bundle, pairs: list[tuple[Any, Any]]
) -> Iterator[tuple[Any, dict[Any, list[int]]]]:
    """For each window of an exploded bundle, the places of each key's elements, in order."""
    windows = bundle.windows
    if type(windows) is Intervals:
        windows = Coded.of(windows.to_list())
    if type(windows) is tuple:
        by_key: dict[Any, list[int]] = defaultdict(list)
        for place, (key, _) in enumerate(pairs):
            by_key[key].append(place)
        yield windows[0], by_key
        return
    assert type(windows) is Coded
    codes = windows.codes.tolist()
    # The same window may have several codes.
    by_window: dict[Any, dict[Any, list[int]]] = {}
    by_code: dict[int, dict[Any, list[int]]] = {
        code: by_window.setdefault(windows.table[code][0], defaultdict(list)) for code in dict.fromkeys(codes)
    }
    for place, ((key, _), code) in enumerate(zip(pairs, codes)):
        by_code[code][key].append(place)
    yield from by_window.items()
