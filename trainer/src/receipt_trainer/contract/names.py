"""Names that the trainer, the stack and the user's files agree on."""

from __future__ import annotations

import re
from typing import Final

PROJECT: Final = "receipt-trainer"

CORE_LABELS: Final = (
    "MERCHANT_NAME",
    "PHONE_NUMBER",
    "ADDRESS_LINE",
    "DATE",
    "TIME",
    "PRODUCT_NAME",
    "QUANTITY",
    "UNIT_PRICE",
    "LINE_TOTAL",
    "SUBTOTAL",
    "TAX",
    "GRAND_TOTAL",
)
"""The twelve labels of a receipt word, in the order of a receipt read from top to bottom."""

OUTSIDE: Final = "O"
"""The tag of a word that belongs to no entity."""

AMOUNT: Final = "AMOUNT"
"""What LINE_TOTAL, SUBTOTAL, TAX and GRAND_TOTAL become with --merge-amounts."""

VALIDATION_STATUSES: Final = ("NONE", "PENDING", "VALID", "INVALID", "NEEDS_REVIEW")

DEFAULT_MODEL: Final = "microsoft/layoutlm-base-uncased"
DEFAULT_OUTPUT_ROOT: Final = "/tmp/receipt_layoutlm"  # noqa: S108 - documented path, one folder a job
DEFAULT_AWS_CLI: Final = "/usr/bin/aws"

RUN_FILE: Final = "run.json"
REPORT_FILE: Final = "report.html"
PREDICTIONS_FILE: Final = "predictions.jsonl"
MODEL_DIR: Final = "model"

ENV_RECEIPTS_TABLE: Final = "DYNAMO_TABLE_NAME"
ENV_JOBS_TABLE: Final = "JOBS_TABLE_NAME"
ENV_INSTANCES_TABLE: Final = "INSTANCE_REGISTRY_TABLE_NAME"
ENV_ARTIFACTS_BUCKET: Final = "ARTIFACTS_BUCKET"
ENV_AWS_CLI: Final = "RECEIPT_TRAINER_AWS_CLI"
ENV_O_ENTITY_RATIO: Final = "LAYOUTLM_O_TO_ENTITY_RATIO"

JOB_NAME_PATTERN: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}")


def is_job_name(name: str) -> bool:
    """Whether `name` may name a job: never a path, never `.` or `..`."""
    return JOB_NAME_PATTERN.fullmatch(name) is not None
