"""The training stack: settings become components, components become outputs."""

from __future__ import annotations

import pulumi

from infra import outputs, preview_checks
from infra.base import Base, Place, refuse_another_trainer
from infra.naming import Naming
from infra.settings import StackSettings
from infra.watch.observability import Observability, ObservabilityArgs, WatchedPool
from infra.workers import Workers


async def main() -> None:
    """Register the stack. The SDK awaits it: the last update's outputs must be known before the first resource."""
    refuse_another_trainer()
    settings = StackSettings.load(pulumi.Config())
    naming = Naming(project=pulumi.get_project(), environment=settings.environment, tags=settings.tags)
    place = Place.find(settings)
    preview_checks.check(settings, naming.project)
    preview_checks.refuse_replaced_data(await preview_checks.read_outputs(), settings, place.region, naming.project)

    base = Base(settings, naming, place)
    workers = Workers(settings, naming, place, base)
    watched = {
        pool: WatchedPool(
            queue_names=base.queues.names[pool],
            dead_letter_queue_name=base.queues.dead_letter_names[pool],
            auto_scaling_group=workers.pools[pool].group_name,
        )
        for pool in settings.pools
    }
    observability = Observability(
        "observability",
        ObservabilityArgs(
            naming=naming,
            region=place.region,
            pools=watched,
            boot_log_group_name=base.logs.boot.name,
            worker_log_group_name=base.logs.worker.name,
            silence_function_name=workers.silence.function_name,
            alarm_email=settings.alarm_email,
            budget=settings.budget,
        ),
    )

    outputs.export(
        project=naming.project,
        environment=naming.environment,
        region=place.region,
        receipts_table=base.tables.receipts.name,
        jobs_table=base.tables.jobs.name,
        instances_table=base.tables.instances.name,
        artifacts_bucket=base.buckets.artifacts.id,
        wheels_bucket=base.buckets.wheels.id,
        wheelhouse_prefix=base.wheelhouse.prefix,
        file_system_id=base.files.file_system_id,
        training_access_point_id=base.files.training_access_point_id,
        checkpoints_access_point_id=base.files.checkpoints_access_point_id,
        training_parameter=base.defaults.parameter_name,
        image_parameter=workers.image.image_parameter_name,
        image_pipeline_arn=workers.image.pipeline_arn,
        worker_log_group=base.logs.worker.name,
        boot_log_group=base.logs.boot.name,
        dashboard_name=observability.dashboard_name,
        vpc_id=base.network.vpc_id,
        private_subnet_ids=base.network.private_subnet_ids,
        pools={pool: workers.outputs_of(pool) for pool in settings.pools},
        nat=settings.network.nat,
        parent_image=settings.golden_ami.parent_image,
        alarm_topic_arn=observability.topic_arn,
        notices_topic_arn=workers.notices.topic_arn,
        budget_usd=settings.budget.monthly_usd if settings.budget else 0,
        job_defaults=settings.jobs.model_dump(mode="json", exclude_none=True),
    )


pulumi.run(main)
