"""Option classes of cloud services and distributed runners.

Nothing local reads most of them. They are here so that the command lines of existing pipelines parse, and so
that file systems and bridges find their settings under the names that people know.
"""

from __future__ import annotations

import json
from typing import Any

from hornbeam.options.argument_parser import OptionsParser
from hornbeam.options.view import PipelineOptions

__all__ = [
    "AzureOptions",
    "FlinkRunnerOptions",
    "GoogleCloudOptions",
    "HadoopFileSystemOptions",
    "PortableOptions",
    "PrismRunnerOptions",
    "S3Options",
    "SparkRunnerOptions",
]


def _texts(parser: OptionsParser, *names: str) -> None:
    for name in names:
        parser.add_argument(f"--{name}", default=None)


def _switches(parser: OptionsParser, *names: str) -> None:
    for name in names:
        parser.add_argument(f"--{name}", default=False, action="store_true")


class GoogleCloudOptions(PipelineOptions):
    """Google Cloud: project, region, places for files."""

    BIGQUERY_API_SERVICE = "bigquery.googleapis.com"
    COMPUTE_API_SERVICE = "compute.googleapis.com"
    STORAGE_API_SERVICE = "storage.googleapis.com"
    DATAFLOW_ENDPOINT = "https://dataflow.googleapis.com"
    OAUTH_SCOPES = (
        "https://www.googleapis.com/auth/bigquery",
        "https://www.googleapis.com/auth/cloud-platform",
        "https://www.googleapis.com/auth/devstorage.full_control",
        "https://www.googleapis.com/auth/userinfo.email",
        "https://www.googleapis.com/auth/datastore",
        "https://www.googleapis.com/auth/spanner.admin",
        "https://www.googleapis.com/auth/spanner.data",
    )

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument("--dataflow_endpoint", default=cls.DATAFLOW_ENDPOINT)
        parser.add_argument("--temp_location", default=None, help="Where temporary files go.")
        _texts(
            parser,
            "project",
            "job_name",
            "staging_location",
            "region",
            "service_account_email",
            "template_location",
            "dataflow_kms_key",
            "create_from_snapshot",
            "impersonate_service_account",
        )
        _switches(
            parser,
            "no_auth",
            "update",
            "enable_streaming_engine",
            "enable_hot_key_logging",
            "enable_artifact_caching",
        )
        parser.add_argument("--label", "--labels", dest="labels", action="append", default=None)
        parser.add_argument("--transform_name_mapping", type=json.loads, default=None)
        parser.add_argument("--flexrs_goal", default=None, choices=["COST_OPTIMIZED", "SPEED_OPTIMIZED"])
        parser.add_argument(
            "--dataflow_service_option",
            "--dataflow_service_options",
            dest="dataflow_service_options",
            action="append",
            default=None,
        )
        parser.add_argument(
            "--gcp_oauth_scope",
            "--gcp_oauth_scopes",
            dest="gcp_oauth_scopes",
            action="append",
            default=list(cls.OAUTH_SCOPES),
        )

    def get_cloud_profiler_service_name(self) -> str | bool | None:
        """The name under which profiles are sent, True for the job's own, None when they are not."""
        prefix = "enable_google_cloud_profiler"
        for option in self.dataflow_service_options or []:
            name, has_value, value = option.partition("=")
            if name == prefix:
                return value if has_value else True
        return None

    def validate(self, validator: Any) -> list[str]:
        """The mistakes in these options. Only a job that runs in the cloud needs a project and places."""
        if self.update and not self.job_name:
            return ["--update needs --job_name, the job to be updated."]
        return []


class S3Options(PipelineOptions):
    """Amazon S3 and services like it."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        _texts(
            parser,
            "s3_access_key_id",
            "s3_secret_access_key",
            "s3_session_token",
            "s3_endpoint_url",
            "s3_region_name",
            "s3_api_version",
            "s3_verify",
        )
        _switches(parser, "s3_disable_ssl")


class AzureOptions(PipelineOptions):
    """Azure blob storage: a connection string, or an endpoint with a managed identity."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        _texts(parser, "azure_connection_string", "blob_service_endpoint", "azure_managed_identity_client_id")

    def validate(self, validator: Any) -> list[str]:
        """The mistakes in these options."""
        errors = []
        if self.azure_connection_string and self.blob_service_endpoint:
            errors.append("--azure_connection_string and --blob_service_endpoint exclude each other.")
        if self.azure_managed_identity_client_id and not self.blob_service_endpoint:
            errors.append("--azure_managed_identity_client_id needs --blob_service_endpoint.")
        return errors


class HadoopFileSystemOptions(PipelineOptions):
    """The Hadoop file system."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        _texts(parser, "hdfs_host", "hdfs_port", "hdfs_user")
        _switches(parser, "hdfs_full_urls")

    def validate(self, validator: Any) -> list[str]:
        """The mistakes in these options: host, port and user come together."""
        given = {name: getattr(self, name) for name in ("hdfs_host", "hdfs_port", "hdfs_user")}
        missing = [f"--{name}" for name, value in given.items() if value is None]
        if missing and len(missing) < len(given):
            return [f"The Hadoop file system also needs {', '.join(missing)}."]
        return []


class PortableOptions(PipelineOptions):
    """Runners that are reached over the network."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        _texts(
            parser,
            "job_endpoint",
            "artifact_endpoint",
            "environment_type",
            "environment_config",
            "output_executable_path",
        )
        parser.add_argument(
            "--environment_option",
            "--environment_options",
            dest="environment_options",
            action="append",
            default=None,
        )
        parser.add_argument("--job_server_timeout", type=int, default=60, help="In seconds.")
        parser.add_argument("--sdk_worker_parallelism", type=int, default=1)
        parser.add_argument("--environment_cache_millis", type=int, default=0)


class FlinkRunnerOptions(PipelineOptions):
    """A Flink cluster."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument("--flink_master", default="[auto]")
        _texts(parser, "flink_version", "flink_job_server_jar", "flink_conf_dir")
        _switches(parser, "flink_submit_uber_jar")
        parser.add_argument("--parallelism", type=int, default=-1)
        parser.add_argument("--max_parallelism", type=int, default=-1)


class SparkRunnerOptions(PipelineOptions):
    """A Spark cluster."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument("--spark_master_url", default="local[4]")
        parser.add_argument("--spark_version", default="3")
        _texts(parser, "spark_job_server_jar", "spark_rest_url")
        _switches(parser, "spark_submit_uber_jar")


class PrismRunnerOptions(PipelineOptions):
    """Flags of Beam's Prism runner; the name selects the DirectRunner here, which needs none of them."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        _texts(parser, "prism_location", "prism_beam_version_override", "prism_log_level")
