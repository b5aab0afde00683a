"""Training processes and queues of the worker's tests, for sweeps that are really trained."""

from tests.cli.conftest import call
from tests.worker.conftest import bench, make_bench, receipts_file

__all__ = ["bench", "call", "make_bench", "receipts_file"]
