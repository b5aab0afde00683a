"""The objects of the configuration: every member with its default, bounds and meaning."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from infra.network.subnets import LARGEST_PREFIX, SMALLEST_PREFIX
from receipt_trainer.config.base import Strict
from receipt_trainer.contract import names

PARENT_IMAGE: Final = (
    "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.13-amazon-linux-2023/latest/ami-id"
)
SCHEDULE: Final = "cron(0 6 ? * sun *)"
MIN_ROOT_VOLUME_GIB: Final = 100
"""The parent image's snapshot of about 75 GiB, the trainer, a model cache and room to work."""
LOG_RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
"""CloudWatch Logs API Reference, PutRetentionPolicy."""
OWN_TAGS: Final = ("Name", "Project", "Environment", "Pool", "CreatedBy")
"""Set by us or, the last, by Image Builder, whose resources our roles know by it."""
MAX_TAGS: Final = 40
"""Of AWS's 50 a resource: the rest is for the stack's own tags and those of AWS services."""

PythonVersion = Literal["3.11", "3.12", "3.13", "3.14"]
PYTHON_VERSIONS: Final[tuple[str, ...]] = get_args(PythonVersion)
_PRIVATE_NETWORKS: Final = tuple(
    IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
Item = TypeVar("Item")


def _text_of_scalar(value: Any) -> Any:
    """`pulumi config set --path` makes a number of 4711 and a boolean of true; tags and versions are text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _each_once(value: tuple[Item, ...]) -> tuple[Item, ...]:
    if len(set(value)) != len(value):
        raise ValueError("one is named twice; allowed: each once")
    return value


def _private_network(value: str) -> str:
    """A network that can be cut into subnets (Amazon VPC User Guide, VPC CIDR blocks)."""
    try:
        network = IPv4Network(value)
    except ValueError:
        network = IPv4Network(0)
    inside = any(network.subnet_of(block) for block in _PRIVATE_NETWORKS)
    if str(network) != value or not inside or not LARGEST_PREFIX <= network.prefixlen <= SMALLEST_PREFIX:
        raise ValueError(
            f"{value!r} is not a private IPv4 network such as 10.42.0.0/16; allowed: a /{LARGEST_PREFIX} to "
            f"/{SMALLEST_PREFIX} of {', '.join(map(str, _PRIVATE_NETWORKS))}, without host bits"
        )
    return value


def _of_our_system(parent_image: str) -> str:
    """As far as a name tells."""
    if foreign := next((word for word in ("arm64", "ubuntu", "windows") if word in parent_image.lower()), ""):
        raise ValueError(f"{parent_image!r} is of {foreign}; allowed: images of x86_64 and Amazon Linux 2023")
    return parent_image


def _log_days(value: int) -> int:
    if value not in LOG_RETENTION_DAYS:
        days = ", ".join(map(str, LOG_RETENTION_DAYS))
        raise ValueError(f"{value} is not a retention of CloudWatch; allowed: {days}")
    return value


def _not_ours(key: str) -> str:
    """A tag's key; IAM takes keys that differ only in case for one."""
    if key.lower().startswith("aws:") or key.lower() in {own.lower() for own in OWN_TAGS}:
        raise ValueError(f"is set by AWS or the stack itself; allowed: any but aws:... and {', '.join(OWN_TAGS)}")
    return key


def _differ(tags: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}
    for key in tags:
        if (other := seen.setdefault(key.lower(), key)) != key:
            raise ValueError(f"{other!r} and {key!r} differ only in case; allowed: one of them")
    return tags


PythonVersions = Annotated[
    tuple[Annotated[PythonVersion, BeforeValidator(_text_of_scalar)], ...],
    AfterValidator(lambda given: tuple(sorted(given))),
]
Email = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}$", max_length=254)
]
InstanceTypeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}\.[a-z0-9-]{1,30}$")]
InstanceTypes = Annotated[tuple[InstanceTypeName, ...], Field(min_length=1, max_length=20), AfterValidator(_each_once)]
TagKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9+\-=._:/]{1,128}$"), AfterValidator(_not_ours)]
"""The characters that every service allows; EC2 Image Builder knows neither spaces nor accents in a key."""
TagValue = Annotated[str, BeforeValidator(_text_of_scalar), Field(pattern=r"^[\p{L}\p{N} +\-=._:/@]*$", max_length=256)]
"""AWS General Reference, Tagging."""
Tags = Annotated[dict[TagKey, TagValue], Field(max_length=MAX_TAGS), AfterValidator(_differ)]


class SettingGroup(Strict):
    """Members left out have their defaults; others than these are refused."""

    model_config = ConfigDict(validate_default=True)


class NetworkSettings(SettingGroup):
    """The VPC."""

    cidr: Annotated[str, AfterValidator(_private_network)] = Field(
        "10.42.0.0/16", description="Private IPv4 network of the VPC, /16 to /23"
    )
    az_count: int = Field(2, ge=1, le=6, description="Availability zones to use; one more moves no subnet")
    nat: Literal["none", "single", "public"] = Field(
        "none",
        description="none: AWS is reached through endpoints, the internet not at all; single: one NAT gateway; "
        "public: workers have a public address while they run and accept no connections",
    )


class PoolSettings(SettingGroup):
    """One pool of workers."""

    enabled: bool = Field(True, description="false: the pool and its queues do not exist")
    instance_types: InstanceTypes = Field(description="EC2 instance types, x86_64")
    min_instances: int = Field(0, ge=0, le=100, description="Instances that are kept even without jobs")
    max_instances: int = Field(2, ge=0, le=100, description="Instances at most; 0 pauses the pool, its jobs wait")
    on_demand_base: int = Field(
        0, ge=0, le=100, description="Number of instances that are on demand first, also if market is spot"
    )
    root_volume_gib: int = Field(
        150, ge=MIN_ROOT_VOLUME_GIB, le=16384, description="Size of the root volume (gp3) in GiB"
    )
    market: Literal["spot", "on_demand"] = Field("spot", description="How instances beyond on_demand_base are bought")
    capacity_rebalance: bool = Field(
        False,
        description="Replace a spot instance at EC2's rebalance recommendation already, whether it is taken or not",
    )

    @field_validator("max_instances")
    @classmethod
    def _not_below_min(cls, value: int, info: ValidationInfo) -> int:
        least = info.data.get("min_instances", 0)
        if value < least:
            raise ValueError(f"{value} is below min_instances ({least}); allowed: {least} to 100")
        return value

    @field_validator("on_demand_base")
    @classmethod
    def _not_above_max(cls, value: int, info: ValidationInfo) -> int:
        most = info.data.get("max_instances", value)
        if value > most:
            raise ValueError(f"{value} is above max_instances ({most}); allowed: 0 to {most}")
        return value


class GpuPoolSettings(PoolSettings):
    """The pool of jobs that want a GPU."""

    instance_types: InstanceTypes = Field(
        ("g5.xlarge", "g6.xlarge", "g5.2xlarge", "g6.2xlarge"),
        description="Types with NVIDIA GPUs of one memory size, x86_64; the more types, the fewer interruptions",
    )


class CpuPoolSettings(PoolSettings):
    """The pool of jobs that do without a GPU."""

    instance_types: InstanceTypes = Field(
        ("c7i.xlarge", "c6i.xlarge", "c7a.xlarge", "m7i.xlarge", "m6i.xlarge"),
        description="Types without a GPU, x86_64; the more types, the fewer interruptions",
    )


class PoolsSettings(SettingGroup):
    """Both pools."""

    gpu: GpuPoolSettings = Field(default_factory=GpuPoolSettings, description="Workers with a GPU")
    cpu: CpuPoolSettings = Field(default_factory=CpuPoolSettings, description="Workers without a GPU")


class GoldenAmiSettings(SettingGroup):
    """The image that workers boot from."""

    enabled: bool = Field(True, description="Build a Golden AMI; false: workers install from the wheelhouse at boot")
    parent_image: Annotated[str, AfterValidator(_of_our_system)] = Field(
        PARENT_IMAGE,
        pattern=r"^(?:ami-(?:[0-9a-f]{8}|[0-9a-f]{17})|(?:/[A-Za-z0-9_.-]+){2,15})$",
        description="SSM parameter with an image id, or an image id (ami-...); x86_64, Amazon Linux 2023",
    )
    schedule: str = Field(
        # An image by its id never changes, so that a schedule would never build.
        default_factory=lambda data: "" if data.get("parent_image", "").startswith("ami-") else SCHEDULE,
        pattern=r"^(?:cron\(.+\))?$",
        max_length=1024,
        description="When to rebuild if the parent has changed (Image Builder's cron, UTC); empty: by hand only",
    )

    @field_validator("schedule")
    @classmethod
    def _of_what_can_change(cls, value: str, info: ValidationInfo) -> str:
        parent = info.data.get("parent_image", "")
        if value and parent.startswith("ami-"):
            raise ValueError(
                f"{value!r} would never build: parent_image is {parent}, which never changes (API_Schedule); allowed: "
                "an empty text, or an SSM parameter as parent_image"
            )
        return value


class RetentionSettings(SettingGroup):
    """How long things are kept."""

    logs_days: Annotated[int, AfterValidator(_log_days)] = Field(30, description="Days that logs are kept")
    old_versions_days: int = Field(
        30, ge=1, le=3650, description="Days that overwritten and deleted objects of the buckets can be restored"
    )
    checkpoints_days: int = Field(
        names.DEFAULT_CHECKPOINTS_DAYS,
        ge=1,
        le=3650,
        description="Days that checkpoints of FAILED and CANCELLED jobs are kept",
    )
    rows_days: int = Field(
        names.DEFAULT_ROWS_DAYS, ge=1, le=3650, description="Days that metrics and log lines of jobs are kept"
    )


class JobsSettings(SettingGroup):
    """Defaults of every job of the stack, which its job file or the command may override."""

    max_hours: float | None = Field(
        None, gt=0, le=100_000, description="Hours of instance time after which a job is stopped; unset: no limit"
    )
    max_usd: float | None = Field(
        None, gt=0, le=1_000_000, description="US dollars after which a job is stopped; unset: no limit"
    )
    notify: bool | None = Field(
        None, description="true: a job sends a notice when it has ended or is held; unset: if it asks for it"
    )


class BudgetSettings(SettingGroup):
    """The monthly budget."""

    monthly_usd: float = Field(
        gt=0, le=1_000_000, description="US dollars a month; mails at 80 % and 100 %, and at a forecast of 100 %"
    )
    email: Email = Field(description="Mail address that is notified")


class WheelhouseSettings(SettingGroup):
    """The wheels that workers install from."""

    python_versions: Annotated[PythonVersions, AfterValidator(_each_once)] = Field(
        ("3.12", "3.13"),
        min_length=1,
        max_length=2,
        description="The Pythons it has wheels for; that of /opt/pytorch in the parent image must be among them",
    )
    path: str = Field(
        "", pattern=r"^[^\x00-\x1f]*$", max_length=4096, description="Folder of a ready wheelhouse; empty: it is built"
    )
