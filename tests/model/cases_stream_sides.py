"""Cases: side inputs of streams: elements wait for their side window, and see the latest pane of it."""

from __future__ import annotations

from model.cases_streams import script
from model.table import At, case

import hornbeam as beam
from hornbeam.pvalue import AsDict, AsIter, AsList, AsMultiMap, AsSingleton
from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec
from hornbeam.transforms.window import FixedWindows, GlobalWindows, TimestampedValue


def two(p, *events):
    """The outputs `main` and `side` of a TestStream: (tag, [(value, seconds)]) or (tag, watermark)."""
    stream = TestStream()
    for tag, event in events:
        if isinstance(event, list):
            stream = stream.add_elements([TimestampedValue(v, t) for v, t in event], tag=tag)
        else:
            stream = stream.advance_watermark_to(event, tag=tag)
    outputs = p | stream
    return outputs["main"], outputs["side"]


def each_second(pcoll, label):
    return pcoll | label >> beam.WindowInto(FixedWindows(10))


@case([At(("x", [1, 2]), 1.0, (0, 10)), At(("y", [3]), 11.0, (10, 20))])
def elements_wait_for_their_side_window(p):
    main, side = two(
        p,
        ("main", [("x", 1), ("y", 11)]),
        ("side", [(1, 1)]),
        ("main", 50),
        ("side", [(2, 2), (3, 12)]),
        ("side", 50),
    )
    return each_second(main, "m") | beam.Map(lambda x, s: (x, sorted(s)), AsList(each_second(side, "s")))


@case([At(("x", []), 1.0, (0, 10)), At(("y", [3]), 11.0, (10, 20))])
def a_side_window_without_elements_is_ready_when_it_has_ended(p):
    main, side = two(
        p, ("main", [("x", 1), ("y", 11)]), ("main", 50), ("side", 10), ("side", [(3, 12)]), ("side", 50)
    )
    return each_second(main, "m") | beam.Map(lambda x, s: (x, list(s)), AsIter(each_second(side, "s")))


@case([At(("a", 3), 9.999999, (0, 10))])
def waiting_elements_hold_the_watermark_of_what_is_behind(p):
    main, side = two(
        p, ("main", [(("a", 1), 1), (("a", 2), 2)]), ("main", 50), ("side", [(0, 3)]), ("side", 50)
    )
    waited = each_second(main, "m") | beam.Map(lambda pair, s: pair, AsSingleton(each_second(side, "s")))
    return waited | beam.CombinePerKey(sum)


@case([("x", {"k": 1}), ("y", {"k": 1})])
def a_bounded_side_input_of_a_stream_in_the_global_window(p):
    table = p | beam.Create([("k", 1)])
    return script(p, [("x", 1)], 5, [("y", 6)]) | beam.Map(lambda x, d: (x, d), AsDict(table))


@case([("x", {"k": [1, 2]})])
def a_multimap_of_a_stream(p):
    main, side = two(p, ("main", [("x", 1)]), ("side", [(("k", 1), 1), (("k", 2), 2)]), ("side", 50))
    multimap = AsMultiMap(each_second(side, "s"))
    return each_second(main, "m") | beam.Map(lambda x, d: (x, {k: sorted(v) for k, v in d.items()}), multimap)


@case([("x", 1), ("y", 2), ("z", 3)])
def each_pane_of_a_triggered_side_input_takes_the_place_of_the_one_before(p):
    main, side = two(
        p,
        ("main", [("x", 1)]),
        ("side", [(1, 1)]),
        ("side", [(2, 2)]),
        ("main", [("y", 2)]),
        ("side", [(3, 3)]),
        ("main", [("z", 3)]),
    )
    latest = side | beam.WindowInto(
        GlobalWindows(), trigger=Repeatedly(AfterCount(1)), accumulation_mode=AccumulationMode.DISCARDING
    )
    return main | beam.Map(lambda x, s: (x, s), AsSingleton(latest))


@case([("x", 10), ("y", 0)])
def an_aggregate_of_a_stream_as_a_side_input(p):
    main, side = two(
        p, ("main", [("x", 1), ("y", 21)]), ("side", [(3, 1), (7, 2)]), ("main", 50), ("side", 50)
    )
    total = each_second(side, "s") | beam.CombineGlobally(sum).as_singleton_view()
    return each_second(main, "m") | beam.Map(lambda x, s: (x, s), total)


@case([("x", 1, "A"), ("x", 2, "A")])
def a_stateful_dofn_with_a_side_input(p):
    class Counted(beam.DoFn):
        COUNT = ReadModifyWriteStateSpec("count", beam.coders.VarIntCoder())

        def process(self, pair, table, count=beam.DoFn.StateParam(COUNT)):
            place = (count.read() or 0) + 1
            count.write(place)
            yield pair[0], place, table[pair[1]]

    main, side = two(
        p,
        ("main", [(("x", "a"), 1), (("x", "a"), 2)]),
        ("main", 50),
        ("side", [(("a", "A"), 5)]),
        ("side", 50),
    )
    return each_second(main, "m") | beam.ParDo(Counted(), AsDict(each_second(side, "s")))


@case([("x", [1], {"a": 1})])
def one_pcollection_in_two_shapes(p):
    main, side = two(p, ("main", [("x", 1)]), ("side", [(("a", 1), 5)]), ("main", 50), ("side", 50))
    pairs = each_second(side, "s")
    return each_second(main, "m") | beam.Map(
        lambda x, values, table: (x, [v for _, v in values], table), AsIter(pairs), AsDict(pairs)
    )
