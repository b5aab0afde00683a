"""Names, paths and tags."""

from infra.context import AwsContext

CONTEXT = AwsContext("receipt-trainer", "dev", "aws", "us-east-1", "123456789012", (), {"Team": "ml"})


def test_names_begin_with_project_and_environment() -> None:
    """Two stacks of one account never give a resource the same name, and two parts of one stack do not either."""
    assert CONTEXT.prefix == "receipt-trainer-dev"
    assert CONTEXT.name("worker", "gpu") == "receipt-trainer-dev-worker-gpu"
    assert CONTEXT.path("worker") == "/receipt-trainer/dev/worker"
    assert CONTEXT.path() == "/receipt-trainer/dev"


def test_tags_are_the_stacks_then_the_users_then_the_resources() -> None:
    """Every resource says its name, project and environment; a resource's own tag comes last."""
    assert CONTEXT.tags_for("worker", Pool="gpu") == {
        "Name": "receipt-trainer-dev-worker",
        "Project": "receipt-trainer",
        "Environment": "dev",
        "Team": "ml",
        "Pool": "gpu",
    }
