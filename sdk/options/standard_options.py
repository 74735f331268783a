"""Option classes that every pipeline has: which runner, how to set up, type checks, debugging, tests."""

from __future__ import annotations

import json
from typing import Any

from hornbeam.options.argument_parser import OptionsParser
from hornbeam.options.view import PipelineOptions

__all__ = [
    "DebugOptions",
    "ProfilingOptions",
    "SetupOptions",
    "StandardOptions",
    "StreamingOptions",
    "TestOptions",
    "TypeOptions",
    "WorkerOptions",
]


class StandardOptions(PipelineOptions):
    """Which runner runs the pipeline, and how."""

    DEFAULT_RUNNER = "DirectRunner"

    #: Names of local runners, Beam's among them: they all select the DirectRunner's engine.
    LOCAL_RUNNERS: tuple[str, ...] = (
        "DirectRunner",
        "BundleBasedDirectRunner",
        "FnApiRunner",
        "PrismRunner",
        "SwitchingDirectRunner",
        "TestDirectRunner",
    )

    ALL_KNOWN_RUNNERS: tuple[str, ...] = (
        "hornbeam.runners.direct.direct_runner.DirectRunner",
        "hornbeam.runners.direct.direct_runner.BundleBasedDirectRunner",
        "hornbeam.runners.direct.direct_runner.FnApiRunner",
        "hornbeam.runners.direct.direct_runner.SwitchingDirectRunner",
        "hornbeam.runners.direct.direct_runner.TestDirectRunner",
        "hornbeam.runners.multiprocess.multiprocess_runner.MultiProcessRunner",
    )

    KNOWN_RUNNER_NAMES: tuple[str, ...] = tuple(path.rpartition(".")[2] for path in ALL_KNOWN_RUNNERS)

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument(
            "--runner",
            default=cls.DEFAULT_RUNNER,
            help="Runner of the pipeline: a known name, or the dotted path of a class.",
        )
        parser.add_argument("--streaming", default=False, action="store_true", help="Run without end.")
        parser.add_argument(
            "--resource_hint",
            "--resource_hints",
            dest="resource_hints",
            action="append",
            default=[],
            help="Resources that every step wants, as name=value. May be given several times.",
        )
        parser.add_argument(
            "--auto_unique_labels",
            default=False,
            action="store_true",
            help="Number steps whose label is taken, instead of refusing them.",
        )
        parser.add_argument(
            "--no_wait_until_finish",
            default=False,
            action="store_true",
            help="Do not wait for the pipeline at the end of its `with` block.",
        )


class StreamingOptions(PipelineOptions):
    """Options of jobs that run without end."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument(
            "--update_compatibility_version",
            default=None,
            help="Behave as this version did, so that a running job can be updated.",
        )


class TypeOptions(PipelineOptions):
    """What is checked about types."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument(
            "--type_check_strictness",
            default="DEFAULT_TO_ANY",
            choices=["ALL_REQUIRED", "DEFAULT_TO_ANY"],
            help="Whether every step must have known types, or unknown ones count as Any.",
        )
        parser.add_argument(
            "--type_check_additional",
            default="",
            help="Comma-separated further checks: all, ptransform_fn.",
        )
        parser.add_argument(
            "--no_pipeline_type_check",
            dest="pipeline_type_check",
            action="store_false",
            default=True,
            help="Do not check types while the pipeline is built.",
        )
        parser.add_argument("--pipeline_type_check", action="store_true", help="Check them (the default).")
        parser.add_argument(
            "--runtime_type_check",
            default=False,
            action="store_true",
            help="Check every element against the declared types while the pipeline runs.",
        )
        parser.add_argument(
            "--performance_runtime_type_check",
            default=False,
            action="store_true",
            help="The same, on a sample of the elements.",
        )
        parser.add_argument(
            "--allow_non_deterministic_key_coders",
            default=False,
            action="store_true",
            help="Group by keys whose encoding may differ between equal keys. Such groups may fall apart.",
        )
        parser.add_argument(
            "--allow_unsafe_triggers",
            default=False,
            action="store_true",
            help="Allow triggers that can drop data for ever.",
        )

    def validate(self, unused_validator: Any) -> list[str]:
        """The mistakes in these options."""
        return []


class DebugOptions(PipelineOptions):
    """Experiments, and help for finding faults."""

    experiments: list[str] | None

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument("--dataflow_job_file", default=None, help="Also write the job to this file.")
        parser.add_argument(
            "--experiment",
            "--experiments",
            dest="experiments",
            action="append",
            default=None,
            help="Turn on an experiment, as name or name=value. May be given several times.",
        )
        parser.add_argument(
            "--number_of_worker_harness_threads", type=int, default=None, help="Threads of each worker."
        )

    def add_experiment(self, experiment: str) -> None:
        """Turns on an experiment, unless it is on."""
        experiments = list(self.experiments or [])
        if experiment not in experiments:
            self.experiments = [*experiments, experiment]

    def lookup_experiment(self, key: str, default: Any = None) -> Any:
        """The value of experiment `key=value`, True for a bare `key`, else the default."""
        for experiment in self.experiments or []:
            name, has_value, value = experiment.partition("=")
            if name == key:
                return value if has_value else True
        return default

    def validate(self, validator: Any) -> list[str]:
        """The mistakes in these options."""
        if any("," in experiment for experiment in self.experiments or []):
            return ["--experiments: give one experiment per flag, not a comma-separated list."]
        return []


class SetupOptions(PipelineOptions):
    """How the code of the pipeline gets to the workers."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        _texts(
            parser,
            requirements_file="A pip requirements file, to be installed on workers.",
            requirements_cache="A folder of packages to be installed on workers.",
            setup_file="The setup.py of the pipeline's own package.",
            user_agent="The name of this program, for services it calls.",
            prebuild_sdk_container_engine="Build a worker image before the run: local_docker or cloud_build.",
            prebuild_sdk_container_base_image="The image to start from.",
            cloud_build_machine_type="The machine that builds the image.",
            docker_registry_push_url="Where to push the image.",
            maven_repository_url="Where Java packages come from.",
        )
        parser.add_argument(
            "--requirements_cache_only_sources",
            action="store_true",
            help="Fetch source packages only.",
        )
        for name in ("beam_plugin", "extra_package"):
            parser.add_argument(
                f"--{name}", f"--{name}s", dest=f"{name}s", action="append", default=None, help="Repeatable."
            )
        parser.add_argument("--files_to_stage", action="append", default=None, help="A file for the workers.")
        parser.add_argument("--sdk_location", default="default", help="Which SDK package workers install.")
        parser.add_argument(
            "--pickle_library",
            default="default",
            choices=["cloudpickle", "default", "dill", "dill_unsafe"],
            help="What pickles user code; 'default' is cloudpickle.",
        )
        parser.add_argument(
            "--save_main_session",
            default=False,
            action="store_true",
            help="Send what the main module defines to the workers. cloudpickle sends what is used anyway.",
        )
        parser.add_argument("--no_save_main_session", dest="save_main_session", action="store_false")

    def validate(self, validator: Any) -> list[str]:
        """The mistakes in these options."""
        if self.prebuild_sdk_container_base_image and not self.prebuild_sdk_container_engine:
            return ["--prebuild_sdk_container_base_image needs --prebuild_sdk_container_engine."]
        return []


class WorkerOptions(PipelineOptions):
    """How many workers a distributed runner uses, and which kind."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        for name in ("num_workers", "max_num_workers", "disk_size_gb"):
            parser.add_argument(f"--{name}", type=int, default=None)
        parser.add_argument(
            "--autoscaling_algorithm",
            default=None,
            choices=["NONE", "THROUGHPUT_BASED"],
            help="How to scale.",
        )
        parser.add_argument("--worker_machine_type", "--machine_type", dest="machine_type", default=None)
        parser.add_argument("--worker_disk_type", "--disk_type", dest="disk_type", default=None)
        parser.add_argument(
            "--sdk_container_image",
            "--worker_harness_container_image",
            dest="sdk_container_image",
            default=None,
        )
        parser.add_argument("--sdk_harness_container_image_overrides", action="append", default=None)
        parser.add_argument("--use_public_ips", default=None, action="store_true")
        parser.add_argument("--no_use_public_ips", dest="use_public_ips", default=None, action="store_false")
        parser.add_argument("--default_sdk_harness_log_level", default=None)
        parser.add_argument(
            "--sdk_harness_log_level_overrides", type=json.loads, action="append", default=None
        )
        for name in ("worker_region", "worker_zone", "zone", "network", "subnetwork", "min_cpu_platform"):
            parser.add_argument(f"--{name}", default=None)

    def validate(self, validator: Any) -> list[str]:
        """The mistakes in these options."""
        few, many = self.num_workers, self.max_num_workers
        if few is not None and many is not None and few > many:
            return [f"--num_workers={few} is more than --max_num_workers={many}."]
        return []


class ProfilingOptions(PipelineOptions):
    """Profiles of the workers."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument("--profile_cpu", action="store_true", help="Profile the time spent.")
        parser.add_argument("--profile_memory", action="store_true", help="Profile the memory used.")
        parser.add_argument("--profile_location", default=None, help="Where profiles are written.")
        parser.add_argument(
            "--profile_sample_rate", type=float, default=1.0, help="The share of bundles that are profiled."
        )

    def validate(self, validator: Any) -> list[str]:
        """The mistakes in these options."""
        if not 0 <= self.profile_sample_rate <= 1:
            return [f"--profile_sample_rate={self.profile_sample_rate} must be between 0 and 1."]
        return []


class TestOptions(PipelineOptions):
    """Options of TestPipeline."""

    __test__ = False

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument("--on_success_matcher", default=None, help="A pickled matcher for the result.")
        parser.add_argument("--dry_run", default=False, action="store_true", help="Do not run the pipeline.")
        parser.add_argument(
            "--wait_until_finish_duration", type=int, default=None, help="Wait this many milliseconds."
        )

    def validate(self, validator: Any) -> list[str]:
        """The mistakes in these options."""
        return []


def _texts(parser: OptionsParser, **help_by_name: str) -> None:
    for name, text in help_by_name.items():
        parser.add_argument(f"--{name}", default=None, help=text)
