"""CloudWatch metrics of workers for the dashboard: how jobs ended and what instances cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import structlog

from receipt_trainer.aws.clients import aws_faults
from receipt_trainer.aws.server_time import since_boot_s
from receipt_trainer.contract import metrics
from receipt_trainer.errors import UserError, WorldError
from receipt_trainer.jobs.model import State
from receipt_trainer.worker.finalize import Left

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.client import CloudWatchClient

_COUNTED: Final[dict[State, str]] = {
    "SUCCEEDED": metrics.JOBS_SUCCEEDED,
    "FAILED": metrics.JOBS_FAILED,
    "CANCELLED": metrics.JOBS_CANCELLED,
    "INTERRUPTED": metrics.INTERRUPTIONS,
}

_log = structlog.get_logger(__name__)


class Outcomes:
    """Puts the metrics of one worker. A metric that cannot be put is no reason to stop: it is said in the log.

    Without a known price of the instance no dollars are put.
    """

    def __init__(
        self,
        client: CloudWatchClient,
        environment: str,
        pool: str,
        *,
        price_usd_per_h: float | None = None,
        clock: Callable[[], float] = since_boot_s,
    ) -> None:
        own = metrics.dimensions(environment, pool)
        self._dimensions = [{"Name": name, "Value": value} for name, value in own.items()]
        self._client, self._price, self._clock = client, price_usd_per_h, clock
        self._paid_until = clock()

    def ended(self, left: Left | None) -> None:
        """How an attempt left its job; a failed one, or one that is not delivered yet, counts as nothing yet."""
        counted = None if left is None or left.is_deferred else _COUNTED.get(left.state)
        if left is not None and left.is_held:
            counted = metrics.JOBS_HELD
        self._put([{"MetricName": counted, "Value": 1.0, "Unit": "Count"}] if counted else [])

    def gone(self) -> None:
        """The worker ends: what its instance cost since it last said so."""
        self._put([])

    def _put(self, data: list[dict[str, Any]]) -> None:
        now = self._clock()
        if self._price is not None:
            spent = (now - self._paid_until) / 3600 * self._price
            data = [*data, {"MetricName": metrics.SPEND_USD, "Value": spent, "Unit": "None"}]
        if not data:
            return
        try:
            with aws_faults("put metrics"):
                rows: Any = [{**row, "Dimensions": self._dimensions} for row in data]
                self._client.put_metric_data(Namespace=metrics.NAMESPACE, MetricData=rows)
        except (UserError, WorldError) as error:
            _log.warning("metrics not put", error=str(error))
            return
        self._paid_until = now
