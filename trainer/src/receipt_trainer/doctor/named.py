"""Resources of the program that have names of ours or hold data: as pulumi knows it, and as AWS does.

A test holds this table against the program: it must name the same type, logical name and component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from receipt_trainer.aws.clients import error_code
from receipt_trainer.doctor.subject import Subject

LOG_GROUP: Final = "aws:cloudwatch/logGroup:LogGroup"
PARAMETER: Final = "aws:ssm/parameter:Parameter"
TABLE: Final = "aws:dynamodb/table:Table"
GROUP: Final = "aws:autoscaling/group:Group"
FUNCTION: Final = "aws:lambda/function:Function"
DASHBOARD: Final = "aws:cloudwatch/dashboard:Dashboard"
FILE_SYSTEM: Final = "aws:efs/fileSystem:FileSystem"
BUDGET: Final = "aws:budgets/budget:Budget"
PIPELINE: Final = "aws:imagebuilder/imagePipeline:ImagePipeline"
INFRASTRUCTURE: Final = "aws:imagebuilder/infrastructureConfiguration:InfrastructureConfiguration"
DISTRIBUTION: Final = "aws:imagebuilder/distributionConfiguration:DistributionConfiguration"
BUCKET: Final = "aws:s3/bucket:Bucket"
QUEUE: Final = "aws:sqs/queue:Queue"


@dataclass(frozen=True, slots=True)
class Named:
    """One resource, by type token and logical name.

    Attributes:
        parent: its component, type without `receipts:infra:` and logical name.
        physical: name on AWS, with {prefix} (project-environment) and {path} (project/environment); "": pulumi's own.
    """

    kind: str
    name: str
    parent: str
    physical: str = ""

    def parent_urn(self, subject: Subject) -> str:
        """URN of its component."""
        return f"urn:pulumi:{subject.stack}::{subject.project}::receipts:infra:{self.parent}"

    def urn(self, subject: Subject) -> str:
        """Its own URN."""
        component = self.parent.partition("::")[0]
        return f"urn:pulumi:{subject.stack}::{subject.project}::receipts:infra:{component}${self.kind}::{self.name}"

    def physical_name(self, subject: Subject) -> str:
        """Its name on AWS in this stack."""
        project, environment = subject.project, subject.environment
        return self.physical.format(prefix=f"{project}-{environment}", path=f"{project}/{environment}")


NAMED: Final[tuple[Named, ...]] = (
    Named(LOG_GROUP, "logs-boot", "LogGroups::logs", "/{path}/boot"),
    Named(LOG_GROUP, "logs-worker", "LogGroups::logs", "/{path}/worker"),
    Named(LOG_GROUP, "logs-flow", "LogGroups::logs", "/{path}/flow"),
    Named(LOG_GROUP, "logs-image", "LogGroups::logs", "/aws/imagebuilder/{prefix}-worker"),
    Named(LOG_GROUP, "logs-silence", "LogGroups::logs", "/{path}/silent-instances"),
    Named(PARAMETER, "training-parameter", "TrainingDefaults::training", "/{path}/training-defaults"),
    Named(PARAMETER, "wheelhouse-parameter", "Wheelhouse::wheelhouse", "/{path}/wheelhouse"),
    Named(PARAMETER, "image-image", "GoldenAmi::image", "/imagebuilder/{path}/worker-image"),
    Named(TABLE, "tables-receipts", "Tables::tables", "{prefix}-receipts"),
    Named(TABLE, "tables-jobs", "Tables::tables", "{prefix}-jobs"),
    Named(TABLE, "tables-instances", "Tables::tables", "{prefix}-instances"),
    Named(FILE_SYSTEM, "files-efs", "FileSystem::files", "{prefix}-efs"),
    Named(GROUP, "gpu-group", "WorkerPool::gpu", "{prefix}-workers-gpu"),
    Named(GROUP, "cpu-group", "WorkerPool::cpu", "{prefix}-workers-cpu"),
    Named(FUNCTION, "silence-function", "SilentInstances::silence", "{prefix}-silent-instances"),
    Named(FUNCTION, "image-expiry-function", "ImageExpiry::image-expiry", "{prefix}-expired-images"),
    Named(DASHBOARD, "observability-dashboard", "Observability::observability", "{prefix}"),
    Named(BUDGET, "observability-budget", "Observability::observability", "{prefix}-monthly"),
    Named(PIPELINE, "image-pipeline", "GoldenAmi::image", "{prefix}-worker"),
    Named(INFRASTRUCTURE, "image-infrastructure", "GoldenAmi::image", "{prefix}-worker-image"),
    Named(DISTRIBUTION, "image-distribution", "GoldenAmi::image", "{prefix}-worker-image"),
    Named(BUCKET, "storage-artifacts", "Buckets::storage"),
    Named(BUCKET, "storage-wheels", "Buckets::storage"),
    *(
        Named(QUEUE, f"jobs-{pool}-{kind}", "JobQueues::jobs")
        for pool in ("gpu", "cpu")
        for kind in ("high", "normal", "dead")
    ),
)

Names = Iterable[str]
Found = Mapping[str, str]
"""Name -> id by which pulumi imports it, of those that are there."""


def _log_groups(subject: Subject, names: Names) -> Found:
    client = subject.client("logs")
    pages = (client.describe_log_groups(logGroupNamePrefix=name)["logGroups"] for name in names)
    return {one["logGroupName"]: one["logGroupName"] for page in pages for one in page}


def _parameters(subject: Subject, names: Names) -> Found:
    found = subject.client("ssm").get_parameters(Names=list(names))["Parameters"]
    return {one["Name"]: one["Name"] for one in found}


def _tables(subject: Subject, names: Names) -> Found:
    pages = subject.client("dynamodb").get_paginator("list_tables").paginate()
    return {name: name for page in pages for name in page["TableNames"]}


def _groups(subject: Subject, names: Names) -> Found:
    client = subject.client("autoscaling")
    found = client.describe_auto_scaling_groups(AutoScalingGroupNames=list(names))["AutoScalingGroups"]
    return {one["AutoScalingGroupName"]: one["AutoScalingGroupName"] for one in found}


def _functions(subject: Subject, names: Names) -> Found:
    client = subject.client("lambda")
    return _if_there(names, lambda name: client.get_function_configuration(FunctionName=name)["FunctionName"])


def _dashboards(subject: Subject, names: Names) -> Found:
    client = subject.client("cloudwatch")
    pages = (client.list_dashboards(DashboardNamePrefix=name)["DashboardEntries"] for name in names)
    return {one["DashboardName"]: one["DashboardName"] for page in pages for one in page}


def _file_systems(subject: Subject, names: Names) -> Found:
    client = subject.client("efs")
    pages = (client.describe_file_systems(CreationToken=name)["FileSystems"] for name in names)
    return {one["CreationToken"]: one["FileSystemId"] for page in pages for one in page}


def _budgets(subject: Subject, names: Names) -> Found:
    client, account = subject.clients.of("budgets", "us-east-1"), subject.account

    def find(name: str) -> str:
        return f"{account}:{client.describe_budget(AccountId=account, BudgetName=name)['Budget']['BudgetName']}"

    return _if_there(names, find)


def _image_builder(operation: str, key: str) -> Callable[[Subject, Names], Found]:
    def find(subject: Subject, names: Names) -> Found:
        client: Any = subject.client("imagebuilder")
        wanted = [{"name": "name", "values": list(names)}]
        return {one["name"]: one["arn"] for one in getattr(client, operation)(filters=wanted)[key]}

    return find


def _if_there(names: Names, find: Callable[[str], str]) -> Found:
    found = {}
    for name in names:
        try:
            found[name] = find(name)
        except Exception as error:
            if error_code(error) not in ("ResourceNotFoundException", "NotFoundException"):
                raise
    return found


FINDERS: Final[Mapping[str, Callable[[Subject, Names], Found]]] = {
    LOG_GROUP: _log_groups,
    PARAMETER: _parameters,
    TABLE: _tables,
    FILE_SYSTEM: _file_systems,
    GROUP: _groups,
    FUNCTION: _functions,
    DASHBOARD: _dashboards,
    BUDGET: _budgets,
    PIPELINE: _image_builder("list_image_pipelines", "imagePipelineList"),
    INFRASTRUCTURE: _image_builder("list_infrastructure_configurations", "infrastructureConfigurationSummaryList"),
    DISTRIBUTION: _image_builder("list_distribution_configurations", "distributionConfigurationSummaryList"),
}
"""How what bears one of our names is found on AWS, by type token."""
