"""Auctions, after the Nexmark benchmark: people, auctions and bids in one stream of events, and three questions asked of it.

    python examples/auctions.py --events 5000                             # makes the events, reads them, ends
    python examples/auctions.py --follow --runner=LogRunner --job_name=auctions --log_dir=out/jobs

* Who won each auction? State and timers by auction: bids are kept until it closes.
* Which people opened an auction within ten minutes of signing up? A join of two streams in windows.
* How many bids does a bidder make in one sitting? Session windows by bidder.

The events come from a topic of the log, and the answers go to a topic each.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

from outputs import show
from streaming_flights_log import read_rows

import hornbeam as beam
from hornbeam.coders import PickleCoder
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.storage.log import Log, Producer
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from hornbeam.transforms.window import FixedWindows, IntervalWindow, Sessions
from hornbeam.utils.timestamp import Timestamp

Event = dict[str, Any]

#: Events a second, in event time; of fifty, one is a person and three are auctions, as in Nexmark.
RATE = 10
OPEN_SECONDS_MAX = 60
SITTING_SECONDS = 10
WINDOW_SECONDS = 600


def events(count: int, seed: int = 1) -> Iterator[Event]:
    """Made-up events, the same for the same seed; `at` is in seconds, and never goes back."""
    dice = random.Random(seed)
    people, auctions = 0, []
    for number in range(count):
        at = number / RATE
        kind = number % 50
        if kind == 0:
            people += 1
            yield {"kind": "person", "id": people, "name": f"person {people}", "at": at}
        elif kind < 4 or not auctions:
            expires = at + dice.randint(5, OPEN_SECONDS_MAX)
            auctions.append((len(auctions) + 1, expires))
            reserve = dice.randint(1, 50)
            seller = max(1, people - int(dice.expovariate(0.5)))
            yield {
                "kind": "auction",
                "id": len(auctions),
                "seller": seller,
                "reserve": reserve,
                "expires": expires,
                "at": at,
            }
        else:
            # Mostly for what is still open, and now and then too late.
            id_, _ = dice.choice(auctions[-30:])
            bidder = dice.randint(1, max(1, people))
            yield {"kind": "bid", "auction": id_, "bidder": bidder, "price": dice.randint(1, 100), "at": at}


def fill(directory: str, topic: str, count: int, partitions: int = 4) -> None:
    """Makes the topic, with what belongs to one auction or person in one partition."""
    with Log(directory) as log, Producer(log) as producer:
        if topic in log.topics():
            return
        log.create_topic(topic, partitions)
        made = list(events(count))
        keys = [f"auction {e['auction']}" if e["kind"] == "bid" else f"{e['kind']} {e['id']}" for e in made]
        times = [round(e["at"] * 1_000_000) for e in made]
        values = [json.dumps(e).encode() for e in made]
        producer.append(topic, values, [key.encode() for key in keys], timestamps=times)


class Winner(beam.DoFn):
    """Keeps an auction and its bids until it closes, and gives the best bid that meets the reserve."""

    AUCTION = ReadModifyWriteStateSpec("auction", PickleCoder())
    BIDS = BagStateSpec("bids", PickleCoder())
    CLOSE = TimerSpec("close", TimeDomain.WATERMARK)
    FORGET = TimerSpec("forget", TimeDomain.WATERMARK)

    def process(
        self,
        element: tuple[int, Event],
        auction: Any = beam.DoFn.StateParam(AUCTION),
        bids: Any = beam.DoFn.StateParam(BIDS),
        close: Any = beam.DoFn.TimerParam(CLOSE),
        forget: Any = beam.DoFn.TimerParam(FORGET),
    ) -> None:
        """Remember the event."""
        _, event = element
        if event["kind"] == "auction":
            auction.write(event)
            close.set(Timestamp(event["expires"]))
        else:
            bids.add((event["price"], -event["at"], event["bidder"]))
        # A bid for an auction that has closed, or never was, is not kept for ever.
        forget.set(Timestamp(event["at"] + OPEN_SECONDS_MAX + 1))

    @on_timer(CLOSE)
    def close(
        self, auction: Any = beam.DoFn.StateParam(AUCTION), bids: Any = beam.DoFn.StateParam(BIDS)
    ) -> Iterable[Event]:
        """The highest bid in time, the earliest of several."""
        sold = auction.read()
        valid = [bid for bid in bids.read() if bid[0] >= sold["reserve"] and -bid[1] < sold["expires"]]
        auction.clear()
        bids.clear()
        if not valid:
            return []
        price, at, bidder = max(valid)
        return [
            {"auction": sold["id"], "seller": sold["seller"], "bidder": bidder, "price": price, "at": -at}
        ]

    @on_timer(FORGET)
    def forget(
        self, auction: Any = beam.DoFn.StateParam(AUCTION), bids: Any = beam.DoFn.StateParam(BIDS)
    ) -> None:
        """Nothing came for so long that it cannot matter any more."""
        auction.clear()
        bids.clear()


def new_seller(
    person: int, found: dict[str, Iterable[Event]], window: IntervalWindow = beam.DoFn.WindowParam
) -> Iterator[Event]:
    """A person who signed up and opened auctions in the same window."""
    names = [each["name"] for each in found["people"]]
    auctions = sorted(each["id"] for each in found["auctions"])
    if names and auctions:
        yield {"window": int(window.start), "person": person, "name": names[0], "auctions": auctions}


def sitting(bidder: int, bids: int, window: IntervalWindow = beam.DoFn.WindowParam) -> Event:
    """A session of a bidder."""
    return {"bidder": bidder, "bids": bids, "from": float(window.start), "to": float(window.end)}


def build(stream: beam.PCollection[Event]) -> dict[str, beam.PCollection[Event]]:
    """The three questions, by the topics of their answers."""
    people, auctions, bids = stream | "Kinds" >> beam.Partition(
        lambda event, _: ("person", "auction", "bid").index(event["kind"]), 3
    )
    keyed = tuple[int, dict]
    by_auction = (
        auctions | "AuctionId" >> beam.Map(lambda e: (e["id"], e)).with_output_types(keyed),
        bids | "BidsAuction" >> beam.Map(lambda e: (e["auction"], e)).with_output_types(keyed),
    )
    winners = by_auction | "Events" >> beam.Flatten() | "Winner" >> beam.ParDo(Winner())

    windows = beam.WindowInto(FixedWindows(WINDOW_SECONDS))
    sellers = (
        {
            "people": people
            | "PersonWindows" >> windows
            | "PersonId" >> beam.Map(lambda e: (e["id"], e)).with_output_types(keyed),
            "auctions": auctions
            | "AuctionWindows" >> windows
            | "Seller" >> beam.Map(lambda e: (e["seller"], e)).with_output_types(keyed),
        }
        | "Join" >> beam.CoGroupByKey()
        | "NewSeller" >> beam.FlatMapTuple(new_seller)
    )

    sittings = (
        bids
        | "Bidder" >> beam.Map(lambda e: (e["bidder"], e)).with_output_types(keyed)
        | "Sittings" >> beam.WindowInto(Sessions(SITTING_SECONDS))
        | "CountBids" >> beam.combiners.Count.PerKey()
        | "Sitting" >> beam.MapTuple(sitting)
    )
    return {"winners": winners, "new_sellers": sellers, "sittings": sittings}


def run(argv: list[str] | None = None) -> dict[str, list[Event]]:
    """Runs the pipeline and gives the rows of each topic of answers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", default="out/auctions", help="directory of the log")
    parser.add_argument("--events", type=int, default=5000, help="how many to make, if there are none yet")
    parser.add_argument("--follow", action="store_true", help="wait for new events for ever")
    args, pipeline_args = parser.parse_known_args(argv)
    fill(args.log, "events", args.events)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        stream = p | "ReadEvents" >> ReadFromLog(
            args.log, "events", bounded=not args.follow, value_coder=json.loads, idle_timeout=1.0
        ).with_output_types(dict)
        for topic, answers in build(stream).items():
            answers | f"To_{topic}" >> WriteToLog(args.log, topic, value_coder=json.dumps, partitions=1)
    return {topic: read_rows(args.log, topic) for topic in ("winners", "new_sellers", "sittings")}


if __name__ == "__main__":
    show([json.dumps(row) for rows in run().values() for row in rows])
