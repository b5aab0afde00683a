"""CloudWatch metrics that workers, boot scripts and the stack put, and that alarms and the dashboard read."""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = "ReceiptTrainer"
"""The one namespace that the worker role may put metrics into."""

DIMENSION_ENVIRONMENT: Final = "Environment"
DIMENSION_POOL: Final = "Pool"

BOOT_FAILURES: Final = "BootFailures"
"""Boots that ended before the worker ran; unit Count."""
INTERRUPTIONS: Final = "Interruptions"
"""Interruptions that a job had to leave for; unit Count."""
JOBS_SUCCEEDED: Final = "JobsSucceeded"
"""Jobs that reached SUCCEEDED; unit Count."""
JOBS_FAILED: Final = "JobsFailed"
"""Jobs that reached FAILED; unit Count."""
JOBS_CANCELLED: Final = "JobsCancelled"
"""Jobs that reached CANCELLED; unit Count."""
JOBS_HELD: Final = "JobsHeld"
"""Jobs whose complete run is no longer delivered until somebody asks for it; unit Count."""
SILENT_INSTANCES: Final = "SilentInstances"
"""Instances that the stack ended because they sent no heartbeat; unit Count."""
SPEND_USD: Final = "SpendUsd"
"""Dollars that an instance cost since it last said so; unit None."""

ALL_METRICS: Final = (
    *(BOOT_FAILURES, SILENT_INSTANCES, INTERRUPTIONS, JOBS_SUCCEEDED, JOBS_FAILED, JOBS_CANCELLED, JOBS_HELD),
    SPEND_USD,
)


def dimensions(environment: str, pool: str) -> dict[str, str]:
    """Dimension name -> value of every metric of the namespace; an alarm finds a metric only by exactly these."""
    return {DIMENSION_ENVIRONMENT: environment, DIMENSION_POOL: pool}
