"""IAM, launch templates, Auto Scaling groups and what watches them on the embedded AWS."""

from __future__ import annotations

import json
from typing import Any, Final

from receipt_trainer.local.property_mapping import Clients, Creator, given, pascal, tag_list, tag_specification
from receipt_trainer.local.recording import Registration

_Made = tuple[str, dict[str, Any]]


def _role(resource: Registration, name: str, clients: Clients) -> _Made:
    made = clients("iam").create_role(
        RoleName=name,
        AssumeRolePolicyDocument=resource.inputs["assumeRolePolicy"],
        Tags=tag_list(resource),
        **given(resource, Description="description", Path="path", MaxSessionDuration="maxSessionDuration"),
    )
    return name, {"arn": made["Role"]["Arn"], "uniqueId": made["Role"]["RoleId"]}


def _role_policy(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = {"RoleName": resource.inputs["role"], "PolicyName": name, "PolicyDocument": resource.inputs["policy"]}
    clients("iam").put_role_policy(**wanted)
    return f"{wanted['RoleName']}:{name}", {}


def _policy(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = {"PolicyName": name, "PolicyDocument": resource.inputs["policy"], "Tags": tag_list(resource)}
    arn = clients("iam").create_policy(**wanted)["Policy"]["Arn"]
    return arn, {"arn": arn}


def _attachment(resource: Registration, name: str, clients: Clients) -> _Made:
    clients("iam").attach_role_policy(**given(resource, RoleName="role", PolicyArn="policyArn"))
    return name, {}


def _instance_profile(resource: Registration, name: str, clients: Clients) -> _Made:
    iam = clients("iam")
    made = iam.create_instance_profile(InstanceProfileName=name, Tags=tag_list(resource))
    if role := resource.inputs.get("role"):
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    return name, {"arn": made["InstanceProfile"]["Arn"]}


def _launch_template(resource: Registration, name: str, clients: Clients) -> _Made:
    inputs = resource.inputs
    data = given(
        resource,
        ImageId="imageId",
        InstanceType="instanceType",
        UserData="userData",
        SecurityGroupIds="vpcSecurityGroupIds",
        InstanceInitiatedShutdownBehavior="instanceInitiatedShutdownBehavior",
    )
    for key in ("blockDeviceMappings", "iamInstanceProfile", "metadataOptions", "networkInterfaces"):
        if inputs.get(key):
            data[key[:1].upper() + key[1:]] = pascal(inputs[key])
    for device in data.get("BlockDeviceMappings", []):
        for flag in {"Encrypted", "DeleteOnTermination"} & set(device.get("Ebs", {})):
            device["Ebs"][flag] = device["Ebs"][flag] in (True, "true")  # text in the provider
    for interface in data.get("NetworkInterfaces", []):
        interface["Groups"] = interface.pop("SecurityGroups", [])
        for flag in {"AssociatePublicIpAddress", "DeleteOnTermination"} & set(interface):
            interface[flag] = interface[flag] in (True, "true")
    made = clients("ec2").create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData=data,
        TagSpecifications=tag_specification(resource, "launch-template"),
        **given(resource, VersionDescription="description"),
    )["LaunchTemplate"]
    return made["LaunchTemplateId"], {
        "latestVersion": made["LatestVersionNumber"],
        "defaultVersion": made["DefaultVersionNumber"],
    }


def _group(resource: Registration, name: str, clients: Clients) -> _Made:
    inputs = resource.inputs
    wanted: dict[str, Any] = {
        "AutoScalingGroupName": name,
        "MinSize": 0,  # with one more than none the emulator would start instances that do nothing
        "DesiredCapacity": 0,
        "MaxSize": inputs["maxSize"],
        "VPCZoneIdentifier": ",".join(inputs["vpcZoneIdentifiers"]),
        "Tags": [pascal(tag) for tag in inputs.get("tags") or []],
    }
    wanted |= given(
        resource, CapacityRebalance="capacityRebalance", NewInstancesProtectedFromScaleIn="protectFromScaleIn"
    )
    if mixed := inputs.get("mixedInstancesPolicy"):
        wanted["MixedInstancesPolicy"] = _mixed(mixed)
    else:
        template = inputs["launchTemplate"]
        wanted["LaunchTemplate"] = {"LaunchTemplateId": template["id"], "Version": str(template["version"])}
    autoscaling = clients("autoscaling")
    autoscaling.create_auto_scaling_group(**wanted)
    for hook in inputs.get("initialLifecycleHooks") or []:
        autoscaling.put_lifecycle_hook(
            AutoScalingGroupName=name,
            LifecycleHookName=hook["name"],
            LifecycleTransition=hook["lifecycleTransition"],
            HeartbeatTimeout=hook.get("heartbeatTimeout", 3600),
            DefaultResult=hook.get("defaultResult", "ABANDON"),
        )
    return name, {}


def _mixed(mixed: dict[str, Any]) -> dict[str, Any]:
    policy: dict[str, Any] = pascal(mixed)
    template = policy["LaunchTemplate"]
    template["LaunchTemplateSpecification"]["Version"] = str(template["LaunchTemplateSpecification"]["Version"])
    for override in template.get("Overrides") or []:
        override.pop("InstanceRequirements", None)
    return policy


def _hook(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = given(
        resource,
        AutoScalingGroupName="autoscalingGroupName",
        LifecycleTransition="lifecycleTransition",
        HeartbeatTimeout="heartbeatTimeout",
        DefaultResult="defaultResult",
    )
    clients("autoscaling").put_lifecycle_hook(LifecycleHookName=name, **wanted)
    return name, {}


def _scaling_policy(resource: Registration, name: str, clients: Clients) -> _Made:
    wanted = given(
        resource,
        AutoScalingGroupName="autoscalingGroupName",
        PolicyType="policyType",
        AdjustmentType="adjustmentType",
        MetricAggregationType="metricAggregationType",
        EstimatedInstanceWarmup="estimatedInstanceWarmup",
        ScalingAdjustment="scalingAdjustment",
        Cooldown="cooldown",
    )
    if steps := resource.inputs.get("stepAdjustments"):
        wanted["StepAdjustments"] = [_step(step) for step in steps]
    autoscaling = clients("autoscaling")
    autoscaling.put_scaling_policy(PolicyName=name, **wanted)
    group = wanted["AutoScalingGroupName"]  # asked for, because moto 5.2 misspells the ARN in its first answer
    found = autoscaling.describe_policies(AutoScalingGroupName=group, PolicyNames=[name])["ScalingPolicies"]
    return name, {"arn": found[0]["PolicyARN"]}


def _step(step: dict[str, Any]) -> dict[str, Any]:
    bounds = {
        key: float(step[key]) for key in ("metricIntervalLowerBound", "metricIntervalUpperBound") if step.get(key)
    }
    return {**pascal(bounds), "ScalingAdjustment": int(step["scalingAdjustment"])}


def _alarm(resource: Registration, name: str, clients: Clients) -> _Made:
    inputs = resource.inputs
    wanted = given(
        resource,
        AlarmDescription="alarmDescription",
        MetricName="metricName",
        Namespace="namespace",
        Statistic="statistic",
        Period="period",
        EvaluationPeriods="evaluationPeriods",
        DatapointsToAlarm="datapointsToAlarm",
        Threshold="threshold",
        ComparisonOperator="comparisonOperator",
        TreatMissingData="treatMissingData",
        AlarmActions="alarmActions",
        OKActions="okActions",
        InsufficientDataActions="insufficientDataActions",
    )
    wanted["Dimensions"] = _dimensions(inputs.get("dimensions"))
    if queries := inputs.get("metricQueries"):
        wanted["Metrics"] = [_query(query) for query in queries]
    clients("cloudwatch").put_metric_alarm(AlarmName=name, Tags=tag_list(resource), **wanted)
    return name, {}


def _dimensions(dimensions: dict[str, str] | None) -> list[dict[str, str]]:
    return [{"Name": key, "Value": value} for key, value in (dimensions or {}).items()]


def _query(query: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = pascal(
        {key: query[key] for key in ("id", "expression", "label", "returnData") if key in query}
    )
    if metric := query.get("metric"):
        about = {"Namespace": metric.get("namespace"), "MetricName": metric["metricName"]}
        about["Dimensions"] = _dimensions(metric.get("dimensions"))
        found["MetricStat"] = {"Metric": about, "Period": metric["period"], "Stat": metric["stat"]}
    return found


def _dashboard(resource: Registration, name: str, clients: Clients) -> _Made:
    body = resource.inputs["dashboardBody"]
    name = resource.inputs["dashboardName"]
    text = body if isinstance(body, str) else json.dumps(body)
    clients("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=text)
    return name, {}


CREATORS: Final[dict[str, Creator]] = {
    "aws:iam/role:Role": _role,
    "aws:iam/rolePolicy:RolePolicy": _role_policy,
    "aws:iam/policy:Policy": _policy,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": _attachment,
    "aws:iam/instanceProfile:InstanceProfile": _instance_profile,
    "aws:ec2/launchTemplate:LaunchTemplate": _launch_template,
    "aws:autoscaling/group:Group": _group,
    "aws:autoscaling/lifecycleHook:LifecycleHook": _hook,
    "aws:autoscaling/policy:Policy": _scaling_policy,
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:cloudwatch/dashboard:Dashboard": _dashboard,
}
