"""What the runner's tests run: a module of its own, configuration, two resources, outputs."""

from pathlib import Path

import parts
import pulumi
import pulumi_aws as aws

config = pulumi.Config()
parts.RUNS.append(pulumi.get_stack())
bucket = aws.s3.Bucket("store", tags={"Greeting": config.require("greeting")})
aws.sqs.Queue("jobs", fifo_queue=True, opts=pulumi.ResourceOptions(depends_on=[bucket]))

pulumi.export("word", parts.WORD)
pulumi.export("runs", parts.RUNS)
pulumi.export("shape", config.get_object("shape"))
pulumi.export("folder", Path.cwd().name)
pulumi.export("project", pulumi.get_project())
