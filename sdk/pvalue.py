"""What flows between transforms while a pipeline is built: PCollections, their ends, and side-input views.

A PValue holds no data; it stands for the result of a step. `|` applies a transform to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from hornbeam.error import PValueError
from hornbeam.graph import urns
from hornbeam.graph.model import SideInput
from hornbeam.typehints import typehints
from hornbeam.utils.marked import Marked

if TYPE_CHECKING:
    from hornbeam.applied import AppliedPTransform
    from hornbeam.pipeline import Pipeline
    from hornbeam.transforms.windowing import Windowing

__all__ = [
    "AsDict",
    "AsIter",
    "AsList",
    "AsMultiMap",
    "AsSideInput",
    "AsSingleton",
    "DoOutputsTuple",
    "EmptySideInput",
    "PBegin",
    "PCollection",
    "PDone",
    "PValue",
    "Row",
    "TaggedOutput",
]

T = TypeVar("T")


class PValue:
    """Anything that a transform takes or gives. `producer` is the innermost step that made it."""

    pipeline: Pipeline
    producer: AppliedPTransform | None

    def __init__(
        self,
        pipeline: Pipeline,
        tag: str | None = None,
        element_type: Any = typehints.Any,
        windowing: Windowing | None = None,
        is_bounded: bool = True,
    ) -> None:
        self.pipeline = pipeline
        self.tag = tag
        self.element_type = element_type
        self.is_bounded = is_bounded
        self.producer = None
        self._windowing = windowing
        self.requires_deterministic_key_coder: str | None = None

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """Apply a transform to this value: the same as `|`."""
        transform, *rest = args
        return self.pipeline.apply(transform, self, *rest, **kwargs)

    def __or__(self, ptransform: Any) -> Any:
        return self.pipeline.apply(ptransform, self)

    def __str__(self) -> str:
        return f"{type(self).__name__}[{self._name()}]"

    def __repr__(self) -> str:
        return f"<{self} at {hex(id(self))}>"

    def _name(self) -> str:
        """The producer's label and the tag, for messages."""
        label = self.producer.full_label if self.producer is not None else "no step yet"
        return f"{label}.{self.tag}" if self.tag is not None else label


class PCollection(PValue, Generic[T]):
    """A possibly unbounded collection of elements with timestamps and windows."""

    @property
    def windowing(self) -> Windowing:
        """How the elements are windowed, as the producing transform says."""
        if self._windowing is None:
            if self.producer is None:
                raise PValueError(
                    f"{self} has no windowing yet: no transform has given it out. Return it from expand first."
                )
            self._windowing = self.producer.transform.get_windowing(self.producer.inputs)
        return self._windowing

    @staticmethod
    def from_(pcoll: PValue, is_bounded: bool | None = None) -> PCollection[Any]:
        """A new PCollection of the same pipeline, as bounded as `pcoll` unless stated."""
        bounded = pcoll.is_bounded if is_bounded is None else is_bounded
        return PCollection(pcoll.pipeline, is_bounded=bounded)

    def __iter__(self) -> Iterator[T]:
        raise TypeError(
            f"{self} cannot be iterated while the pipeline is built: it has no elements yet. "
            "Use beam.Map(fn) to work on its elements, or AsIter(pcoll) to hand them to a step."
        )

    def __bool__(self) -> bool:
        return True

    def __reduce_ex__(self, unused_protocol: Any) -> Any:
        # A transform that is captured by user code may hold PCollections that the code never touches.
        return _CapturedPCollection, (str(self),)


class _CapturedPCollection:
    """What a PCollection becomes inside a running step: something that says why it cannot be used there."""

    def __init__(self, name: str) -> None:
        self.__dict__["name"] = name

    def _refuse(self) -> PValueError:
        return PValueError(
            f"{self.__dict__['name']} was captured by a function that runs inside the pipeline, where it has no "
            "elements. Pass it as a side input instead: beam.Map(fn, beam.pvalue.AsIter(pcoll))."
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._refuse()

    def __iter__(self) -> Iterator[Any]:
        raise self._refuse()

    def __or__(self, ptransform: Any) -> Any:
        raise self._refuse()

    def __reduce__(self) -> Any:
        return _CapturedPCollection, (self.__dict__["name"],)


class PBegin(PValue):
    """The beginning of a pipeline: what a root transform is applied to."""


class PDone(PValue):
    """The end of a branch: what a transform without output gives."""


class DoOutputsTuple:
    """The tagged outputs of a ParDo: by attribute, by tag, or unpacked (the main output first, if it is named).

    The main output is also found under `None`. An output that is asked for first makes its PCollection.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        transform: Any,
        tags: tuple[str, ...],
        main_tag: str | None,
        main_output: PCollection[Any],
        allow_unknown_tags: bool | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._transform = transform
        self._tags = tags
        self._main_tag = main_tag
        self._allow_unknown_tags = not tags if allow_unknown_tags is None else allow_unknown_tags
        self._pcolls: dict[str | None, PCollection[Any]] = {None: main_output}
        self.producer: AppliedPTransform | None = None
        for tag in tags:
            self._add(tag)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that the outputs belong to."""
        return self._pipeline

    def _add(self, tag: str) -> PCollection[Any]:
        main = self._pcolls[None]
        pcoll: PCollection[Any] = PCollection(self._pipeline, tag=tag, is_bounded=main.is_bounded)
        pcoll.element_type = self._transform.tagged_output_type(tag)
        self._pcolls[tag] = pcoll
        if self.producer is not None:
            pcoll.producer = self.producer
        return pcoll

    def outputs(self) -> Iterator[tuple[str | None, PCollection[Any]]]:
        """The outputs made so far, by tag; the main output's tag is None."""
        return iter(list(self._pcolls.items()))

    def __getitem__(self, tag: int | str | None) -> PCollection[Any]:
        if isinstance(tag, int):
            tag = str(tag)
        if tag is not None and tag == self._main_tag:
            tag = None
        if tag in self._pcolls:
            return self._pcolls[tag]
        if not self._allow_unknown_tags:
            known = ", ".join(map(repr, ([self._main_tag] if self._main_tag else []) + list(self._tags)))
            raise ValueError(f"{self} has no output {tag!r}; with_outputs named {known}.")
        return self._add(cast(str, tag))

    def __getattr__(self, tag: str) -> PCollection[Any]:
        if tag.startswith("_") or tag == "producer":
            raise AttributeError(tag)
        try:
            return self[tag]
        except ValueError as error:
            raise AttributeError(str(error)) from None

    def __iter__(self) -> Iterator[PCollection[Any]]:
        if self._main_tag is not None:
            yield self._pcolls[None]
        for tag in self._tags:
            yield self._pcolls[tag]

    def __len__(self) -> int:
        return len(self._tags) + (self._main_tag is not None)

    def __bool__(self) -> bool:
        return True

    def __str__(self) -> str:
        label = self.producer.full_label if self.producer is not None else self._transform.label
        return f"DoOutputsTuple[{label}]"

    def __repr__(self) -> str:
        return f"<{self} main_tag={self._main_tag} tags={self._tags}>"


class TaggedOutput(Marked, Generic[T]):
    """A value that a DoFn sends to the output `tag` instead of its main output."""

    __slots__ = ("tag", "value")

    def __init__(self, tag: str, value: T) -> None:
        if not isinstance(tag, str):
            raise TypeError(
                f"TaggedOutput needs a tag of type str first and the value second; the tag is "
                f"{tag!r} ({type(tag).__name__}). Write TaggedOutput('errors', value)."
            )
        self.tag = tag
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaggedOutput) and (self.tag, self.value) == (other.tag, other.value)

    def __hash__(self) -> int:
        return hash((self.tag, self.value))

    def __repr__(self) -> str:
        return f"TaggedOutput({self.tag!r}, {self.value!r})"


class EmptySideInput:
    """What a step gets for AsSingleton(pcoll) without a default when the PCollection is empty."""

    def __repr__(self) -> str:
        return "EmptySideInput()"


class AsSideInput:
    """How a PCollection is handed to a step as an extra argument. Use one of the subclasses."""

    #: `urns.SIDE_INPUT_ITERABLE` or `urns.SIDE_INPUT_MULTIMAP`.
    access = urns.SIDE_INPUT_ITERABLE

    def __init__(self, pcoll: PCollection[Any]) -> None:
        if not isinstance(pcoll, PCollection):
            raise TypeError(
                f"{type(self).__name__} needs a PCollection; it got {type(pcoll).__name__}. "
                + ("Take one of its outputs." if isinstance(pcoll, DoOutputsTuple) else "")
            )
        self.pcoll = pcoll

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that the view belongs to."""
        return self.pcoll.pipeline

    @property
    def element_type(self) -> Any:
        """The type of the argument that the step gets."""
        return typehints.Any

    @classmethod
    def requires_keyed_input(cls) -> bool:
        """Whether the elements must be (key, value) pairs."""
        return False

    def to_graph(self) -> SideInput:
        """The graph's description of the view, with the default window mapping."""
        return SideInput(self.access, type(self).__name__)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.pcoll})"


class AsSingleton(AsSideInput):
    """The only element of a PCollection, or `default_value` when it is empty.

    More than one element is an error at run time. Empty without a default gives `EmptySideInput()`.
    """

    _NO_DEFAULT: Any = object()

    def __init__(self, pcoll: PCollection[Any], default_value: Any = _NO_DEFAULT) -> None:
        super().__init__(pcoll)
        self.default_value = default_value

    @property
    def has_default(self) -> bool:
        """Whether a default was given."""
        return self.default_value is not AsSingleton._NO_DEFAULT

    @property
    def element_type(self) -> Any:
        """The element's type."""
        return self.pcoll.element_type

    def to_graph(self) -> SideInput:
        """The graph's description of the view."""
        spec = {"default": repr(self.default_value)[:200]} if self.has_default else {}
        return SideInput(self.access, type(self).__name__, spec)


class AsIter(AsSideInput):
    """All elements as an iterable, which need not fit into memory."""

    @property
    def element_type(self) -> Any:
        """An iterable of the elements' type."""
        return typehints.Iterable[self.pcoll.element_type]


class AsList(AsSideInput):
    """All elements as a list, in memory and in no particular order."""


class AsDict(AsSideInput):
    """(key, value) pairs as a dict; one of the values when a key comes more than once."""

    @classmethod
    def requires_keyed_input(cls) -> bool:
        """True."""
        return True


class AsMultiMap(AsSideInput):
    """(key, value) pairs as a mapping from each key to an iterable of its values."""

    access = urns.SIDE_INPUT_MULTIMAP

    @classmethod
    def requires_keyed_input(cls) -> bool:
        """True."""
        return True


class Row:
    """A value with named fields: `Row(word="king", count=3)`; the fields are attributes, in the given order.

    Iterates over the fields' values. Rows are equal when names, values and order are.
    """

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)

    def as_dict(self) -> dict[str, Any]:
        """The fields and their values, in order."""
        return dict(self.__dict__)

    # NamedTuple's name for the same, so that either can be used where rows are read.
    _asdict = as_dict

    def __iter__(self) -> Iterator[Any]:
        return iter(self.__dict__.values())

    def __eq__(self, other: object) -> bool:
        # The order of the fields is part of a row, as it is of its schema and of its encoded form.
        return type(self) is type(other) and list(self.__dict__.items()) == list(other.__dict__.items())

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.items()))

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"

    def __reduce__(self) -> Any:
        return _make_row, tuple(self.__dict__.items())

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def _make_row(*items: tuple[str, Any]) -> Row:
    """What a pickled Row calls."""
    return Row(**dict(items))
