"""Leader boards of a game: team scores by the hour, corrected as scores come in late, and users' totals as they grow.

    python examples/game_leaderboard.py --lateness_minutes 90

Players who are offline send their scores later. A team's hour is given early (when 20 more scores are in, or, on a
live stream, after five seconds), on time, and late, with all scores so far each time; what is later than
`--lateness_minutes` is dropped and counted. A user's total has no hours: it is given after every ten of his scores,
and at the end. The scores are made up, the same ones for the same `--seed`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from functools import partial

from outputs import AppendLines, appended, empty, show
from streams import Event, Replay, counted

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.trigger import (
    AccumulationMode,
    AfterAny,
    AfterCount,
    AfterProcessingTime,
    AfterWatermark,
    Repeatedly,
)
from hornbeam.transforms.window import FixedWindows, GlobalWindows, IntervalWindow
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming

NOON = 1_700_049_600
TEAMS = ("Amber", "Beech", "Cedar", "Elder")

Score = tuple[str, str, int]


def scores(seed: int, count: int) -> Iterator[Event]:
    """(team, user, points) over some hours; one player in ten is offline for up to three hours."""
    choose = random.Random(seed)
    for number in range(count):
        time = NOON + number * 5 + choose.uniform(0, 30)
        team = choose.choice(TEAMS)
        user = f"{team}{choose.randint(1, 8)}"
        delay = choose.uniform(0, 10_800) if choose.random() < 0.1 else choose.expovariate(1 / 5)
        yield Event(time + delay, time, (team, user, choose.randint(1, 20)))


class TeamScores(beam.PTransform):
    """(team, points) of each hour, as they come to be known."""

    def __init__(self, lateness_seconds: float) -> None:
        super().__init__()
        self.lateness_seconds = lateness_seconds

    def expand(self, scores: beam.PCollection[Score]) -> beam.PCollection[str]:
        return (
            scores
            | "Team" >> beam.MapTuple(lambda team, user, points: (team, points))
            | "Hours"
            >> beam.WindowInto(
                FixedWindows(3600),
                trigger=AfterWatermark(
                    early=AfterAny(AfterCount(20), AfterProcessingTime(5)), late=AfterCount(1)
                ),
                accumulation_mode=AccumulationMode.ACCUMULATING,
                allowed_lateness=self.lateness_seconds,
            )
            | "Sum" >> beam.CombinePerKey(sum)
            | "Line" >> beam.MapTuple(team_line)
        )


class UserScores(beam.PTransform):
    """(user, points) from the beginning on."""

    def expand(self, scores: beam.PCollection[Score]) -> beam.PCollection[str]:
        return (
            scores
            | "User" >> beam.MapTuple(lambda team, user, points: (user, points))
            | "Always"
            >> beam.WindowInto(
                GlobalWindows(),
                trigger=Repeatedly(AfterCount(10)),
                accumulation_mode=AccumulationMode.ACCUMULATING,
            )
            | "Sum" >> beam.CombinePerKey(sum)
            | "Line" >> beam.MapTuple(lambda user, points: f"{user} {points}")
        )


def team_line(
    team: str,
    points: int,
    window: IntervalWindow = beam.DoFn.WindowParam,
    pane: PaneInfo = beam.DoFn.PaneInfoParam,
) -> str:
    """`2023-11-15T12:00:00Z Cedar 812 EARLY`."""
    return f"{window.start.to_rfc3339()} {team} {points} {PaneInfoTiming.to_string(pane.timing)}"


def run(argv: list[str] | None = None) -> tuple[list[str], list[str], int]:
    """Runs the pipeline; gives the lines of both boards in the order of their firing, and how many scores were dropped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scores", type=int, default=3000)
    parser.add_argument(
        "--disorder_minutes", type=float, default=1, help="how late the source expects scores"
    )
    parser.add_argument(
        "--lateness_minutes", type=float, default=90, help="how late scores are still counted"
    )
    parser.add_argument("--output", default="out/game_leaderboard")
    args, pipeline_args = parser.parse_known_args(argv)
    teams, users = empty(f"{args.output}-teams"), empty(f"{args.output}-users")

    pipeline = beam.Pipeline(options=PipelineOptions(pipeline_args))
    played = pipeline | "Scores" >> Replay(
        partial(scores, args.seed, args.scores), disorder=60 * args.disorder_minutes
    )
    played | "Teams" >> TeamScores(60 * args.lateness_minutes) | "ToTeams" >> beam.ParDo(AppendLines(teams))
    played | "Users" >> UserScores() | "ToUsers" >> beam.ParDo(AppendLines(users))
    result = pipeline.run()
    result.wait_until_finish()
    return appended(teams), appended(users), counted(result, "dropped_late")


if __name__ == "__main__":
    teams, users, dropped = run()
    show(teams)
    print(f"{dropped} scores were too late for their hour.\n")
    totals = dict(line.split() for line in users)
    for user, points in sorted(totals.items(), key=lambda item: -int(item[1]))[:5]:
        print(f"{points:>6} {user}")
