"""Notices of jobs that have ended: the topic to which a function of the stack sends them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.naming import Naming


@dataclass(frozen=True)
class NoticesArgs:
    """Who hears of the end of a job.

    Attributes:
        naming: names and tags.
        email: address that is subscribed, once its owner has followed AWS's link; None: nobody is.
    """

    naming: Naming
    email: str | None = None


class Notices(pulumi.ComponentResource):
    """The topic, and its subscription by mail. Others subscribe to it by hand: chat, a queue, a text message.

    Attributes:
        topic_arn: ARN of the topic.
    """

    topic_arn: pulumi.Output[str]

    def __init__(self, name: str, args: NoticesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("receipts:infra:Notices", name, None, opts)
        own = pulumi.ResourceOptions(parent=self)
        # Names of jobs and reasons of failures stand in the texts. The key is AWS's own for SNS, without a monthly
        # price: its policy admits whoever of this account may publish, such as the function's role. (CloudWatch, which
        # is a service and no role of the account, may not use it: see the topic of the alarms.)
        topic = aws.sns.Topic(
            f"{name}-topic", kms_master_key_id="alias/aws/sns", tags=args.naming.tags_for("notices"), opts=own
        )
        if args.email:
            aws.sns.TopicSubscription(f"{name}-email", topic=topic.arn, protocol="email", endpoint=args.email, opts=own)
        self.topic_arn = topic.arn
        self.register_outputs({"topic_arn": topic.arn})
