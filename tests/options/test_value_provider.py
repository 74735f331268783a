"""ValueProviders: static, at run time, nested, and as options."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from hornbeam.error import OptionError, RuntimeValueProviderError
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.options.value_provider import (
    NestedValueProvider,
    RuntimeValueProvider,
    StaticValueProvider,
    ValueProvider,
    check_accessible,
)


class TemplateOptions(PipelineOptions):
    @classmethod
    def _add_argparse_args(cls, parser: Any) -> None:
        parser.add_value_provider_argument("--vp_text", default="start", help="some text")
        parser.add_value_provider_argument("--vp_number", type=int)
        parser.add_value_provider_argument("--vp_choice", type=int, choices=[1, 2])


@pytest.fixture(autouse=True)
def _no_runtime_options() -> Iterator[None]:
    RuntimeValueProvider.set_runtime_options(None)
    yield
    RuntimeValueProvider.set_runtime_options(None)


def test_a_given_value_is_static() -> None:
    options = TemplateOptions(["--vp_text=given", "--vp_number=5", "--vp_choice=2"])
    assert isinstance(options.vp_number, StaticValueProvider)
    assert (options.vp_text.get(), options.vp_number.get(), options.vp_choice.get()) == ("given", 5, 2)


def test_a_wrong_value_is_refused() -> None:
    with pytest.raises(OptionError, match="--vp_number: invalid int value: 'x'"):
        TemplateOptions(["--vp_number=x"])
    with pytest.raises(OptionError, match="--vp_choice: invalid choice"):
        TemplateOptions(["--vp_choice=3"])


def test_a_missing_value_is_known_at_run_time_only() -> None:
    options = TemplateOptions([])
    assert isinstance(options.vp_text, RuntimeValueProvider)
    assert not options.vp_text.is_accessible()
    with pytest.raises(RuntimeValueProviderError, match="'vp_text' is known only while the pipeline runs"):
        options.vp_text.get()
    RuntimeValueProvider.set_runtime_options({"vp_number": "7", "experiments": ["x"]})
    assert (options.vp_text.get(), options.vp_number.get()) == ("start", 7)
    assert RuntimeValueProvider.experiments == {"x"}
    assert RuntimeValueProvider.get_value("other", int, 3) == 3


def test_a_runner_supplies_all_options_of_the_run() -> None:
    options = TemplateOptions(["--vp_number=5", "--experiments=a"])
    RuntimeValueProvider.set_runtime_options(options.get_all_options())
    assert options.vp_text.get() == "start"
    assert RuntimeValueProvider("vp_number", int, 0).get() == 5
    assert RuntimeValueProvider.experiments == {"a"}


def test_defaults_drop_out_of_display_data() -> None:
    assert "vp_text" not in TemplateOptions([]).display_data()
    assert TemplateOptions(["--vp_text=x"]).display_data()["vp_text"].get() == "x"


def test_providers_go_through_a_dictionary() -> None:
    found = TemplateOptions(["--vp_number=5"]).get_all_options()
    again = PipelineOptions.from_dictionary({name: value for name, value in found.items() if "vp_" in name})
    assert again._flags == ["--vp_number=5"]


def test_nested_values_are_translated_when_asked_for() -> None:
    calls = []

    def translate(value: int) -> str:
        calls.append(value)
        return f"<{value}>"

    nested = NestedValueProvider(StaticValueProvider(int, "4"), translate)
    assert nested.is_accessible() and not calls
    assert (nested.get(), nested.get(), calls) == ("<4>", "<4>", [4])
    assert not NestedValueProvider(TemplateOptions([]).vp_text, str).is_accessible()


def test_check_accessible_names_method_and_attribute() -> None:
    class Sink:
        def __init__(self, path: ValueProvider) -> None:
            self.path = path

        @check_accessible(["path"])
        def open(self) -> str:
            return f"opened {self.path.get()}"

    assert Sink(StaticValueProvider(str, "a")).open() == "opened a"
    with pytest.raises(RuntimeValueProviderError, match=r"Sink.open needs the value of 'path'"):
        Sink(RuntimeValueProvider("path", str, None)).open()


def test_providers_pickle_and_compare() -> None:
    provider = StaticValueProvider(int, 5)
    assert pickle.loads(pickle.dumps(provider)) == provider == 5
    assert str(provider) == "5"
    assert pickle.loads(pickle.dumps(RuntimeValueProvider("n", str, "d"))).default_value == "d"
