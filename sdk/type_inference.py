"""Element types of the PCollections that a step gives: declared ones first, else what the transform infers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hornbeam.pvalue import DoOutputsTuple, PCollection, TaggedOutput
from hornbeam.typehints import typehints
from hornbeam.typehints.decorators import TypeCheckError
from hornbeam.utils.windowed_value import WindowedValue

if TYPE_CHECKING:
    from hornbeam.applied import AppliedPTransform


def infer_types(step: AppliedPTransform) -> None:
    """Give the step's main output a type when it has none yet."""
    main = _main_output(step)
    if main is None or not knows_nothing(main.element_type):
        return
    types = [pcoll.element_type for pcoll in step.inputs]
    input_type = typehints.make_union(types) if types else typehints.Any
    transform = step.transform
    hints = transform.get_type_hints()
    declared = hints.simple_output_type(step.full_label)
    if knows_nothing(declared):
        inferred = typehints.normalize(transform.infer_output_type(input_type), none_as_type=True)
        main.element_type = _of_elements(inferred)
        return
    bindings: dict[Any, Any] = {}
    if hints.input_types and hints.input_types[0]:
        bindings = typehints.match_type_variables(hints.input_types[0][0], input_type)
    main.element_type = _of_elements(typehints.bind_type_variables(declared, bindings))


def _of_elements(hint: Any) -> Any:
    """Any for an output that says more than its value (a TimestampedValue, say): the element is what is in it."""
    wraps = hint in (WindowedValue, TaggedOutput) or getattr(hint, "wraps_an_element", False)
    return typehints.Any if wraps else hint


def require_type(step: AppliedPTransform) -> None:
    """TypeCheckError when the type of the step's main output is not known (`--type_check_strictness=ALL_REQUIRED`)."""
    main = _main_output(step)
    if main is not None and knows_nothing(main.element_type):
        raise TypeCheckError(
            f"Type checks are strict, and no output type is known of {step.full_label!r}. Declare it with "
            "with_output_types(...) or annotate its function."
        )


def _main_output(step: AppliedPTransform) -> PCollection[Any] | None:
    result = step.result
    main = result[None] if isinstance(result, DoOutputsTuple) else result
    return main if isinstance(main, PCollection) else None


def knows_nothing(hint: Any) -> bool:
    """Whether a hint is missing, or is Any."""
    return hint is None or hint is Any or type(hint) is typehints.AnyTypeConstraint
