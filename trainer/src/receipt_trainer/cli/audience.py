"""Who hears of the end of a job: what `submit-job` says where nobody would."""

from __future__ import annotations

import click

from receipt_trainer.cli import stack


def warn() -> None:
    """Say in one line why nobody would get the notice that is asked for; nothing where somebody does."""
    found = problem()
    if found is not None:
        click.echo(f"no notice will arrive: {found}", err=True)


def problem() -> str | None:
    """Why nobody would get a notice of the running command's stack; None if somebody does, or if no stack is named."""
    outputs = stack.outputs()
    if outputs is None:
        return None
    if stack.local_session() is not None:
        return "on this machine nothing sends it; ask `receipt-trainer logs --follow` for the job's end"
    topic = outputs.notices_topic_arn
    if topic is None:
        return "the stack has no topic for notices yet; `pulumi up` makes it"
    found = _subscriptions(topic)
    if found is None or any(one["SubscriptionArn"].startswith("arn:") for one in found):
        return None
    if found:
        return f"{found[0]['Endpoint']} has not confirmed; the link is in a mail of AWS"
    return "nobody has subscribed; set notify_email and run `pulumi up`"


def _subscriptions(topic: str) -> list[dict[str, str]] | None:
    """Of the topic, with `PendingConfirmation` as the ARN of those who have not confirmed; None if they cannot be read.

    Source: SNS API Reference, ListSubscriptionsByTopic.
    """
    from receipt_trainer.aws import clients
    from receipt_trainer.errors import UserError, WorldError

    try:
        with clients.aws_faults("see who gets the notice"):
            pages = clients.brief("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
            return [one for page in pages for one in page["Subscriptions"]]
    except (UserError, WorldError) as error:
        click.echo(f"{error}; the job sends it in any case", err=True)
        return None
