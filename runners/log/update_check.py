"""Whether a changed pipeline can go on from what an older one left: step by step, before anything is touched.

    old graph ─► what its steps keep ──┐
                                       ├─► UpdateCheck: what carries over, what would be lost, and why
    new graph ─► what its steps keep ──┘

State is found again by the full label of the step that keeps it; `--map_transforms` says which step has another label
now. What a step keeps is bound to keys as encoded, to windows, and to the functions that made it; where one of these is
another, it would mean nothing to the new step and counts as lost. New steps begin empty. What code a function holds is its
author's business.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from hornbeam.error import OptionError, PipelineError
from hornbeam.graph.compare import compare
from hornbeam.graph.model import Graph
from hornbeam.runners.log.kept_state import KeptState, kept_states, without_places

Fate = Literal["carries over", "partly lost", "lost", "new"]

#: What a change of each fact means for what is kept.
_WHY = {
    "keys' coder": "keys are told apart by their encoded form",
    "values' coder": "what is kept was made in the old form",
    "input's coder": "what is kept was made in the old form",
    "windows": "what is kept belongs to windows that are no more",
    "trigger": "what has fired already is noted as the old one needs it",
    "firing": "groups that fire once are kept in another form",
    "CombineFn": "its accumulators mean nothing to another one",
    "DoFn": "its restrictions mean nothing to another one",
    "source": "a position in one source means nothing in another",
    "input": "a position in one means nothing in another",
}


class UpdateRefusedError(PipelineError):
    """The pipeline cannot go on from the checkpoint without losing something; nothing was touched."""


@attrs.frozen
class StepUpdate:
    """What becomes of what one step keeps. `lost` are the parts (cells, timers, views) that go although the rest stays."""

    label: str
    new_label: str | None
    fate: Fate
    keeps: str
    reasons: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    advice: str = ""


@attrs.frozen
class UpdateCheck:
    """What an update does, step by step: those of the old pipeline that keep something, then new ones that will."""

    steps: tuple[StepUpdate, ...]
    #: How many other steps are added, removed, changed.
    others: Mapping[str, int]

    @property
    def lost(self) -> tuple[StepUpdate, ...]:
        """Steps that would lose something."""
        return tuple(step for step in self.steps if step.fate in ("lost", "partly lost"))

    @property
    def labels(self) -> dict[str, str]:
        """For each label under which state carries over, the label it goes to."""
        kept = (step for step in self.steps if step.fate in ("carries over", "partly lost"))
        return {step.label: step.new_label for step in kept if step.new_label is not None}

    def check(self, allow_lost_state: bool = False) -> None:
        """UpdateRefusedError, with the table, if something would be lost and that is not allowed."""
        if self.lost and not allow_lost_state:
            raise UpdateRefusedError(
                f"the pipeline has changed, and something of the old one would be lost:\n{self}"
            )

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {"steps": [attrs.asdict(step) for step in self.steps], "others": dict(self.others)}

    def __str__(self) -> str:
        return "\n".join([*self._lines(), self._refusal() if self.lost else "Nothing is lost."])

    def as_done(self) -> str:
        """The same for an update that goes on, whatever is lost."""
        count = len(self.lost)
        lost = f"{count} step{'s lose what they keep' if count > 1 else ' loses what it keeps'} (--allow_lost_state)."
        return "\n".join([*self._lines(), lost if count else "Nothing is lost."])

    def _refusal(self) -> str:
        count = len(self.lost)
        return (
            f"{count} step{'s' * (count > 1)} would lose what {'it keeps' if count == 1 else 'they keep'}; nothing was "
            "touched. Give --allow_lost_state to go on without that, or begin anew with --fresh."
        )

    def _lines(self) -> Iterator[str]:
        rows = [("STEP", "KEEPS", "BECOMES")]
        rows += [(step.label, step.keeps, _becomes(step)) for step in self.steps]
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        for row, step in zip(rows, (None, *self.steps)):
            yield f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip()
            if step is not None:
                yield from (f"    {line}" for line in (*step.reasons, step.advice) if line)
        others = [f"{count} {kind}" for kind, count in self.others.items() if count]
        if others:
            yield f"Other steps, which keep nothing: {', '.join(others)}."


def _becomes(step: StepUpdate) -> str:
    if step.fate == "new":
        return "new, begins empty"
    if step.fate == "lost":
        return "LOST"
    to = f" to {step.new_label}" if step.new_label != step.label else ""
    if step.fate == "partly lost":
        return f"carries over{to}, but LOST: {', '.join(step.lost)}"
    return f"carries over{to}"


def check_update(old: Graph, new: Graph, mapping: Mapping[str, str] | None = None) -> UpdateCheck:
    """What becomes of what the old pipeline keeps in the new one. `mapping` is from old to new labels.

    A label in it may be a composite's, and then stands for all that is in it. UpdateRefusedError if there is no such step.
    """
    before, after = kept_states(old), kept_states(new)
    mapping = _to_do(mapping or {}, old)
    _check_labels(mapping, old, new)
    targets = {label: _mapped(label, mapping) for label in before}
    targets |= _moved_lambdas(targets, before, after)
    free = {label: state for label, state in after.items() if label not in targets.values()}
    steps = [_step(state, after.get(targets[label]), free, mapping) for label, state in before.items()]
    steps = [_begun_again(step, steps, before) for step in steps]
    steps += [StepUpdate(label, label, "new", state.shown) for label, state in free.items()]
    return UpdateCheck(tuple(steps), _others(old, new, {*before, *after, *targets.values()}))


def parse_mapping(text: str) -> dict[str, str]:
    """`old=new,old2=new2` as a mapping; OptionError for anything else. A comma or = in a label is written twice."""
    mapping = {}
    for pair in filter(None, _split(text, ",")):
        parts = _split(pair, "=")
        if len(parts) != 2 or not all(parts):
            raise OptionError(
                f"--map_transforms is OLD=NEW,OLD=NEW with full labels of steps; found {pair!r}"
            )
        old, new = (part.replace(",,", ",").replace("==", "=") for part in parts)
        mapping[old] = new
    return mapping


def _split(text: str, at: str) -> list[str]:
    """The parts between single separators."""
    marked = text.replace(at * 2, "\0")
    return [part.replace("\0", at * 2) for part in marked.split(at)]


def _mapped(label: str, mapping: Mapping[str, str]) -> str:
    """The label by which the step goes now: its own mapping, or that of the nearest composite around it."""
    head, tail = label, ""
    while head:
        if head in mapping:
            return mapping[head] + tail
        head, slash, last = head.rpartition("/")
        tail = f"{slash}{last}{tail}"
    return label


def _moved_lambdas(
    targets: Mapping[str, str], before: Mapping[str, KeptState], after: Mapping[str, KeptState]
) -> dict[str, str]:
    """Steps whose labels differ by the lines alone at which their lambdas stand, where no other step may be meant."""
    wanted, given = _by_form(set(before) - set(after)), _by_form(set(after) - set(targets.values()))
    return {
        label: given[form][0]
        for form, (label, *others) in wanted.items()
        if not others and targets[label] == label and len(given.get(form, ())) == 1
    }


def _by_form(labels: set[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for label in labels:
        found.setdefault(without_places(label), []).append(label)
    return found


def _to_do(mapping: Mapping[str, str], old: Graph) -> dict[str, str]:
    """The mapping without what an earlier start has done: the same command goes on also after an update."""
    known = {transform.label for transform in old.transforms.values()}
    return {before: after for before, after in mapping.items() if before in known or after not in known}


def _check_labels(mapping: Mapping[str, str], old: Graph, new: Graph) -> None:
    for which, graph, labels in (("old", old, mapping.keys()), ("new", new, mapping.values())):
        known = [transform.label for transform in graph.transforms.values()]
        for label in labels:
            if label not in known:
                near = difflib.get_close_matches(label, known, 1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise UpdateRefusedError(
                    f"--map_transforms names {label!r}, but the {which} pipeline has no such step.{hint}"
                )


def _step(
    state: KeptState, target: KeptState | None, free: Mapping[str, KeptState], mapping: Mapping[str, str]
) -> StepUpdate:
    if target is None:
        label = _mapped(state.label, mapping)
        missing = "the new pipeline has no step of this name that keeps anything"
        if label != state.label:
            missing = f"in the new pipeline {label!r} keeps nothing"
        if state.kind in ("source", "restrictions"):
            missing += "; whatever reads the same there begins from the start"
        return StepUpdate(state.label, None, "lost", state.shown, (missing,), advice=_advice(state, free))
    if state.kind != target.kind:
        reason = f"it is another kind of step: it keeps {target.shown or target.kind} now"
        return StepUpdate(state.label, target.label, "lost", state.shown, (reason,))
    reasons = tuple(_changes(state, target))
    if reasons:
        return StepUpdate(state.label, target.label, "lost", state.shown, reasons)
    parts = dict(_lost_parts(state, target))
    if not parts:
        return StepUpdate(state.label, target.label, "carries over", state.shown)
    fate: Fate = (
        "lost" if len(parts) == len(state.parts) and state.kind in ("cells", "views") else "partly lost"
    )
    return StepUpdate(state.label, target.label, fate, state.shown, tuple(parts.values()), tuple(parts))


def _begun_again(
    step: StepUpdate, steps: Sequence[StepUpdate], before: Mapping[str, KeptState]
) -> StepUpdate:
    """An impulse has to come again where what it began, in the same composite, is lost although its step is still there."""
    if before[step.label].kind != "source" or step.fate != "carries over":
        return step
    for other in steps:
        composite = other.label.rpartition("/")[0]
        lost = (
            other.fate == "lost"
            and other.new_label is not None
            and before[other.label].kind == "restrictions"
        )
        if lost and composite and step.label.startswith(f"{composite}/"):
            reason = f"what it began is lost at {other.label!r}, which begins from the start"
            return attrs.evolve(step, fate="lost", reasons=(reason,))
    return step


def _changes(state: KeptState, target: KeptState) -> Iterator[str]:
    for name in dict.fromkeys((*state.facts, *target.facts)):
        before, after = state.facts.get(name), target.facts.get(name)
        if before is not None and after is not None and before.value == after.value:
            continue
        if name == "firing" and _differ(state, target, "trigger"):
            continue  # said already
        old, new = before.text if before else "nothing", after.text if after else "nothing"
        why = _WHY.get(name.partition(" of ")[0], "what is kept was made in the old form")
        have = "have" if name == "windows" else "has"
        yield f"its {name} {have} changed, from {old} to {new}: {why}"


def _differ(state: KeptState, target: KeptState, name: str) -> bool:
    before, after = state.facts.get(name), target.facts.get(name)
    return before is not None and after is not None and before.value != after.value


def _lost_parts(state: KeptState, target: KeptState) -> Iterator[tuple[str, str]]:
    for name, before in state.parts.items():
        after = target.parts.get(name)
        if after is None:
            yield name, f"{name} is there no more"
        elif None not in (before.value, after.value) and before.value != after.value:
            yield name, f"{name} has changed, from {before.text} to {after.text}"


def _advice(state: KeptState, free: Mapping[str, KeptState]) -> str:
    """A step of the new pipeline that could be the old one under another name."""
    alike = [
        label
        for label, other in free.items()
        if other.kind == state.kind and not [*_changes(state, other), *_lost_parts(state, other)]
    ]
    if not alike:
        return ""
    near = difflib.get_close_matches(state.label, alike, 1, cutoff=0.0)[0]
    old, new = _shortest(state.label, near)
    pair = "=".join(part.replace("=", "==").replace(",", ",,") for part in (old, new))
    return f"if it is {near!r} now, say so: --map_transforms='{pair}'"


def _shortest(old: str, new: str) -> tuple[str, str]:
    """The labels of the outermost steps around that were renamed."""
    olds, news = old.split("/"), new.split("/")
    while len(olds) > 1 and len(news) > 1 and olds[-1] == news[-1]:
        olds.pop()
        news.pop()
    return "/".join(olds), "/".join(news)


def _others(old: Graph, new: Graph, known: Sequence[str] | set[str]) -> dict[str, int]:
    """How many of the steps that keep nothing are added, removed, changed."""
    composites = {t.label for graph in (old, new) for t in graph.transforms.values() if t.is_composite}
    comparison = compare(old, new)
    kinds = {"added": comparison.added, "removed": comparison.removed, "changed": comparison.changed}
    return {
        kind: sum(1 for step in steps if step.label not in known and step.label not in composites)
        for kind, steps in kinds.items()
    }
