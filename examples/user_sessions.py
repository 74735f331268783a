"""Sessions of user activity over a disordered stream: clicks belong together until ten minutes pass without one.

    python examples/user_sessions.py --disorder_minutes 2 --lateness_minutes 60

Some users are on the train: their clicks arrive together, up to half an hour late, and join sessions that seemed to
have ended, or bridge two of them. A session is given when its gap is over, and, as its panes accumulate, again as a
whole when a late click makes it longer. The clicks are made up, the same ones for the same `--seed`.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

from outputs import AppendLines, appended, empty, show
from streams import Event, Replay

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from hornbeam.transforms.window import IntervalWindow, Sessions
from hornbeam.utils.timestamp import Duration
from hornbeam.utils.windowed_value import PaneInfo

MORNING = 1_700_000_000
GAP_SECONDS = 600


def activity(seed: int, users: int) -> Iterator[Event]:
    """Clicks of users over some hours: (user, page), when clicked and when they arrived."""
    choose = random.Random(seed)
    for number in range(users):
        time, offline_until = MORNING + choose.uniform(0, 3600), 0.0
        for _ in range(choose.randint(1, 60)):
            time += choose.choice((5, 20, 90, 400, 1500)) * choose.uniform(0.5, 1.5)
            if time > offline_until and choose.random() < 0.03:
                offline_until = time + choose.uniform(60, 1800)
            arrived = max(time, offline_until) + choose.expovariate(1 / 3)
            yield Event(arrived, time, (f"user{number:03}", choose.choice(("home", "search", "buy"))))


def to_line(
    user: str,
    pages: Iterable[str],
    window: IntervalWindow = beam.DoFn.WindowParam,
    pane: PaneInfo = beam.DoFn.PaneInfoParam,
) -> str:
    """`user007 2023-11-14T22:14:03Z 1260 s buy 1 home 4`, with ` again` behind it where a session has become longer."""
    last = window.end - Duration(GAP_SECONDS)
    seconds = (last - window.start).micros // 1_000_000
    start = window.start.to_utc_datetime().strftime("%Y-%m-%dT%H:%M:%SZ")
    counts = " ".join(f"{page} {count}" for page, count in sorted(Counter(pages).items()))
    return f"{user} {start} {seconds} s {counts}{'' if pane.is_first else ' again'}"


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline and gives the sessions in the order in which they were given out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument(
        "--disorder_minutes", type=float, default=2, help="how late the source expects clicks"
    )
    parser.add_argument(
        "--lateness_minutes", type=float, default=60, help="how late clicks are still counted"
    )
    parser.add_argument("--output", default="out/user_sessions")
    args, pipeline_args = parser.parse_known_args(argv)
    output = empty(args.output)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        (
            p
            | "Clicks"
            >> Replay(partial(activity, args.seed, args.users), disorder=60 * args.disorder_minutes)
            | "Sessions"
            >> beam.WindowInto(
                Sessions(GAP_SECONDS),
                trigger=AfterWatermark(late=AfterCount(1)),
                accumulation_mode=AccumulationMode.ACCUMULATING,
                allowed_lateness=60 * args.lateness_minutes,
            )
            | "Group" >> beam.GroupByKey()
            | "Format" >> beam.MapTuple(to_line)
            | "Append" >> beam.ParDo(AppendLines(output))
        )
    return appended(output)


if __name__ == "__main__":
    show(run())
