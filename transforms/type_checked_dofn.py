"""A DoFn whose elements and outputs are held to their declared types while the pipeline runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hornbeam.pvalue import TaggedOutput
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.guarded_call import wrapping_signature
from hornbeam.transforms.signature import DoFnSignature
from hornbeam.transforms.window import TimestampedValue
from hornbeam.type_inference import knows_nothing
from hornbeam.typehints.checks import check_value
from hornbeam.typehints.decorators import IOTypeHints
from hornbeam.utils.windowed_value import WindowedValue


class TypeCheckedDoFn(DoFn):
    """Calls another DoFn's process; TypeCheckError for a value of another type than `hints` declare.

    Made where the option `--runtime_type_check` is set. Life-cycle methods are not checked.
    """

    def __init__(self, dofn: DoFn, hints: IOTypeHints, label: str) -> None:
        super().__init__()
        self._dofn = dofn
        self._label = label
        positional = hints.input_types[0] if hints.input_types else ()
        self._input = positional[0] if positional and not knows_nothing(positional[0]) else None
        main = hints.simple_output_type(label)
        self._outputs: dict[str | None, Any] = {
            tag: hint for tag, hint in hints.tagged_output_types().items() if not knows_nothing(hint)
        }
        if not knows_nothing(main):
            self._outputs[None] = main

    @property
    def checks_something(self) -> bool:
        """Whether any type is declared."""
        return self._input is not None or bool(self._outputs)

    def default_label(self) -> str:
        """The other DoFn's."""
        return self._dofn.default_label()

    def process(self, element: Any, *args: Any, **kwargs: Any) -> Iterable[Any] | None:
        """What the other DoFn gives, checked."""
        if self._input is not None:
            check_value(element, self._input, self._label, "element")
        outputs = self._dofn.process(element, *args, **kwargs)
        if outputs is None or isinstance(outputs, str | bytes | dict) or not self._outputs:
            return outputs
        return self._checked(outputs)

    def _checked(self, outputs: Iterable[Any]) -> Iterator[Any]:
        for output in outputs:
            tag, value = (output.tag, output.value) if isinstance(output, TaggedOutput) else (None, output)
            if isinstance(value, TimestampedValue | WindowedValue):
                value = value.value
            if tag in self._outputs:
                check_value(
                    value, self._outputs[tag], self._label, "output" if tag is None else f"output {tag!r}"
                )
            yield output

    def signature(self) -> DoFnSignature:
        """The other DoFn's, with this process."""
        return wrapping_signature(self, self._dofn)
