"""The cases: each a hand-written loop and the pipeline for the same work, with the same functions."""

from __future__ import annotations

import random
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.harness import Case

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms import combiners, window

SEED = 20130101
_OPTIONS = ["--no_progress"]

split_words = str.split
pair_with_one = lambda word: (word, 1)  # noqa: E731
format_count = lambda item: f"{item[0]}: {item[1]}"  # noqa: E731

triple = lambda x: x * 3  # noqa: E731
is_even = lambda x: x % 2 == 0  # noqa: E731
twice = lambda x: (x, x + 1)  # noqa: E731
minus_one = lambda x: x - 1  # noqa: E731

key_of_number = lambda i: ((i * 7919) % 100_000, i)  # noqa: E731
sum_of_group = lambda group: (group[0], sum(group[1]))  # noqa: E731

#: An event's line is `user,seconds,amount`.


def parse_event(line: str) -> tuple[str, int, int]:
    """The fields of an event."""
    user, seconds, amount = line.split(",")
    return user, int(seconds), int(amount)


time_of = lambda event: event[1]  # noqa: E731
user_and_amount = lambda event: (event[0], event[2])  # noqa: E731
stamp = lambda event: window.TimestampedValue(event, event[1])  # noqa: E731

FIXED_S = 600
SLIDING_S, PERIOD_S = 3600, 600
GAP_S = 10
USERS = 50


def options() -> PipelineOptions:
    """Options that do not read the command line."""
    return PipelineOptions(_OPTIONS)


class Files:
    """The generated inputs, made once in a temporary folder."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.folder = folder
        self.scale = scale
        self.words_path = folder / "words.txt"
        self.events_path = folder / "events.csv"
        self.events = int(1_000_000 * scale)
        self.words = self._write_words(int(50_000_000 * scale))
        self._write_events(self.events)

    def _write_words(self, size: int) -> int:
        """Zipf text: the word of rank r has probability proportional to 1/r. Gives the number of words."""
        rng = random.Random(SEED)
        vocabulary = [
            f"{rng.choice('abcdefghijklmnopqrst')}{rank:x}word"[: 3 + rank % 7] for rank in range(50_000)
        ]
        vocabulary = [f"{word}{rank % 97}" for rank, word in enumerate(vocabulary)]
        weights = [1 / (rank + 1) for rank in range(len(vocabulary))]
        written = words = 0
        with open(self.words_path, "w", encoding="utf-8") as file:
            while written < size:
                chosen = rng.choices(vocabulary, weights, k=10_000)
                text = "\n".join(" ".join(chosen[i : i + 10]) for i in range(0, len(chosen), 10)) + "\n"
                file.write(text)
                written += len(text)
                words += len(chosen)
        return words

    def _write_events(self, count: int) -> None:
        """Events of USERS users, about twelve a second, each a little out of order."""
        rng = random.Random(SEED + 1)
        with open(self.events_path, "w", encoding="utf-8") as file:
            for i in range(count):
                seconds = 1_357_000_000 + i * 86_400 // 1_000_000 + rng.randrange(-20, 20)
                file.write(f"user{rng.randrange(USERS)},{seconds},{rng.randrange(100)}\n")


@contextmanager
def files(scale: float) -> Iterator[Files]:
    """The inputs for the length of a `with`."""
    with tempfile.TemporaryDirectory(prefix="hornbeam-bench-") as folder:
        yield Files(Path(folder), scale)


def run_to_lines(folder: Path, build: Any) -> list[str]:
    """Runs a pipeline whose last PCollection is small, and gives its elements as sorted text."""
    path = str(folder / "result.txt")
    with beam.Pipeline(options=options()) as p:
        build(p) | "ToText" >> beam.Map(repr) | beam.io.WriteToText(path, shard_name_template="")
    with open(path, encoding="utf-8") as file:
        return sorted(file.read().splitlines())


def lines_of(items: Any) -> list[str]:
    """What `run_to_lines` gives, of a loop's result."""
    return sorted(map(repr, items))


def word_count(f: Files) -> Case:
    def loop() -> Any:
        counts: dict[str, int] = {}
        with open(f.words_path, encoding="utf-8") as file:
            for line in file:
                for word in split_words(line):
                    key, one = pair_with_one(word)
                    counts[key] = counts.get(key, 0) + one
        path = f.folder / "loop.txt"
        with open(path, "w", encoding="utf-8") as out:
            for item in counts.items():
                out.write(format_count(item) + "\n")
        return sorted(path.read_text(encoding="utf-8").splitlines())

    def pipeline() -> Any:
        path = str(f.folder / "pipe.txt")
        with beam.Pipeline(options=options()) as p:
            (
                p
                | beam.io.ReadFromText(str(f.words_path))
                | beam.FlatMap(split_words)
                | beam.Map(pair_with_one)
                | beam.CombinePerKey(sum)
                | beam.Map(format_count)
                | beam.io.WriteToText(path, shard_name_template="")
            )
        with open(path, encoding="utf-8") as file:
            return sorted(file.read().splitlines())

    return Case("word count", f.words, 1.4, loop, pipeline)


def chain(f: Files) -> Case:
    numbers = range(int(2_000_000 * f.scale))

    def loop() -> Any:
        total = 0
        for x in numbers:
            y = triple(x)
            if is_even(y):
                for z in twice(y):
                    total += minus_one(z)
        return lines_of([total])

    def pipeline() -> Any:
        return run_to_lines(
            f.folder,
            lambda p: (
                p
                | beam.Create(numbers, reshuffle=False)
                | beam.Map(triple)
                | beam.Filter(is_even)
                | beam.FlatMap(twice)
                | "minus" >> beam.Map(minus_one)
                | beam.CombineGlobally(sum)
            ),
        )

    return Case("map, filter, flat_map, map, sum", len(numbers), 1.2, loop, pipeline)


def group(f: Files) -> Case:
    numbers = range(int(2_000_000 * f.scale))

    def loop() -> Any:
        groups: dict[int, list[int]] = defaultdict(list)
        for i in numbers:
            key, value = key_of_number(i)
            groups[key].append(value)
        return lines_of([sum_of_group(item) for item in groups.items()])

    def pipeline() -> Any:
        return run_to_lines(
            f.folder,
            lambda p: (
                p
                | beam.Create(numbers, reshuffle=False)
                | beam.Map(key_of_number)
                | beam.GroupByKey()
                | "sum" >> beam.Map(sum_of_group)
            ),
        )

    return Case("group by key", len(numbers), 1.4, loop, pipeline)


def windowed(f: Files, name: str, limit: float, timed: Any, windowing: Any, combine: Any, loop: Any) -> Case:
    def pipeline() -> Any:
        return run_to_lines(
            f.folder,
            lambda p: (
                p
                | beam.io.ReadFromText(str(f.events_path))
                | beam.Map(parse_event)
                | "time" >> timed()
                | beam.WindowInto(windowing)
                | "pair" >> beam.Map(user_and_amount)
                | combine()
                | "with window"
                >> beam.Map(lambda kv, w=beam.DoFn.WindowParam: (int(w.start), int(w.end), *kv))
            ),
        )

    return Case(name, f.events, limit, loop, pipeline)


def fixed_loop(f: Files) -> Any:
    def loop() -> Any:
        sums: dict[tuple[int, str], int] = {}
        with open(f.events_path, encoding="utf-8") as file:
            for line in file:
                event = parse_event(line)
                seconds = time_of(event)
                user, amount = user_and_amount(event)
                key = (seconds - seconds % FIXED_S, user)
                sums[key] = sums.get(key, 0) + amount
        return lines_of((start, start + FIXED_S, user, total) for (start, user), total in sums.items())

    return loop


def sliding_loop(f: Files) -> Any:
    def loop() -> Any:
        sums: dict[tuple[int, str], list[int]] = {}
        with open(f.events_path, encoding="utf-8") as file:
            for line in file:
                event = parse_event(line)
                seconds = time_of(event)
                user, amount = user_and_amount(event)
                last = seconds - seconds % PERIOD_S
                for start in range(last, seconds - SLIDING_S, -PERIOD_S):
                    key = (start, user)
                    entry = sums.get(key)
                    if entry is None:
                        sums[key] = [amount, 1]
                    else:
                        entry[0] += amount
                        entry[1] += 1
        return lines_of((start, start + SLIDING_S, user, s / n) for (start, user), (s, n) in sums.items())

    return loop


def session_loop(f: Files) -> Any:
    def loop() -> Any:
        times: dict[str, list[int]] = defaultdict(list)
        with open(f.events_path, encoding="utf-8") as file:
            for line in file:
                event = parse_event(line)
                user, _ = user_and_amount(event)
                times[user].append(time_of(event))
        out = []
        for user, seconds in times.items():
            seconds.sort()
            start = last = seconds[0]
            count = 0
            for t in seconds:
                if t - last >= GAP_S:
                    out.append((start, last + GAP_S, user, count))
                    start, count = t, 0
                last = t
                count += 1
            out.append((start, last + GAP_S, user, count))
        return lines_of(out)

    return loop


def join(f: Files) -> Case:
    numbers = range(int(1_000_000 * f.scale))
    left_of = lambda i: ((i * 31) % 200_000, i)  # noqa: E731
    right_of = lambda i: ((i * 17) % 200_000, -i)  # noqa: E731
    both = lambda item: (item[0], len(item[1]["l"]), len(item[1]["r"]))  # noqa: E731

    def loop() -> Any:
        left: dict[int, list[int]] = defaultdict(list)
        right: dict[int, list[int]] = defaultdict(list)
        for i in numbers:
            key, value = left_of(i)
            left[key].append(value)
        for i in numbers:
            key, value = right_of(i)
            right[key].append(value)
        keys = dict.fromkeys([*left, *right])
        return lines_of([both((key, {"l": left.get(key, []), "r": right.get(key, [])})) for key in keys])

    def pipeline() -> Any:
        def build(p: Any) -> Any:
            left = p | "l" >> beam.Create(numbers, reshuffle=False) | "lk" >> beam.Map(left_of)
            right = p | "r" >> beam.Create(numbers, reshuffle=False) | "rk" >> beam.Map(right_of)
            return {"l": left, "r": right} | beam.CoGroupByKey() | "both" >> beam.Map(both)

        return run_to_lines(f.folder, build)

    return Case("two-way join", 2 * len(numbers), 1.4, loop, pipeline)


def all_cases(f: Files) -> list[Case]:
    """Every case, in the order in which they are printed."""
    sum_per_key = lambda: beam.CombinePerKey(sum)  # noqa: E731
    stamped = lambda: beam.Map(stamp)  # noqa: E731
    with_timestamps = lambda: beam.WithTimestamps(time_of)  # noqa: E731
    fixed = window.FixedWindows(FIXED_S)
    loop = fixed_loop(f)
    return [
        word_count(f),
        chain(f),
        group(f),
        windowed(f, "fixed-window sum, TimestampedValue", 1.3, stamped, fixed, sum_per_key, loop),
        windowed(f, "fixed-window sum, WithTimestamps", 1.0, with_timestamps, fixed, sum_per_key, loop),
        windowed(
            f,
            "sliding mean",
            1.5,
            with_timestamps,
            window.SlidingWindows(SLIDING_S, PERIOD_S),
            lambda: combiners.Mean.PerKey(),
            sliding_loop(f),
        ),
        windowed(
            f,
            "session count",
            1.5,
            with_timestamps,
            window.Sessions(GAP_S),
            lambda: combiners.Count.PerKey(),
            session_loop(f),
        ),
        join(f),
    ]
