"""The machines: a group of nodes that grows and shrinks, and the one that Chroma runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ros_cdk_core as core
import ros_cdk_ecs as ecs
import ros_cdk_ess as ess

from stack.edge import Edge
from stack.network import Network, text
from stack.parameters import Choices
from stack.permissions import Permissions
from stack.stores import Stores, snapshot_policy

_FOLDER = Path(__file__).parent.parent


def build_chroma(
    stack: core.Stack,
    choices: Choices,
    network: Network,
    stores: Stores,
    permissions: Permissions,
    secrets: list[core.Resource],
) -> str:
    """The machine with Chroma's encrypted disk; its private address. It waits for `secrets`, and nodes wait for it."""
    machine = ecs.InstanceGroup(stack, "ChromaNode", ecs.InstanceGroupProps(
        max_amount=1, instance_type="ecs.g6.xlarge", image_id=choices.image, instance_name="banksight-chroma",
        vpc_id=network.vpc, v_switch_id=network.private[0], zone_id=choices.zone_a,
        security_group_id=network.store_group, allocate_public_ip=False,
        internet_max_bandwidth_out=0, http_tokens="required",
        deletion_protection=True, ram_role_name=permissions.chroma_role, system_disk_category="cloud_essd",
        system_disk_size=60, system_disk_encrypted="true", system_disk_kms_key_id=permissions.key,
        disk_mappings=[ecs.RosInstanceGroup.DiskMappingsProperty(
            size="200", category="cloud_essd", performance_level="PL1", device="/dev/xvdb", encrypted="true",
            kms_key_id=permissions.key, auto_snapshot_policy_id=snapshot_policy(stack),
        )],
        tags=[ecs.RosInstanceGroup.TagsProperty(key="banksight", value="chroma")],
        user_data=_user_data("chroma.sh", stores, {
            "CHROMA_DIGEST": choices.chroma_digest, "WORKER_DIGEST": choices.worker_digest,
            "DOCUMENTS_BUCKET": stores.buckets["documents"], "BACKUPS_BUCKET": stores.buckets["backups"],
        }),
    ))  # fmt: skip
    for secret in secrets:
        machine.add_dependency(secret)
    return text(core.Fn.select(0, machine.attr_private_ips))


def build_nodes(
    stack: core.Stack,
    choices: Choices,
    network: Network,
    stores: Stores,
    permissions: Permissions,
    edge: Edge,
    chroma: str,
    metrics: core.IResolvable,
) -> str:
    """The scaling group behind the balancer's server groups; its id."""
    types = ess.RosScalingGroup
    group = ess.ScalingGroup(stack, "Nodes", ess.ScalingGroupProps(
        min_size=choices.min_nodes, desired_capacity=choices.desired_nodes, max_size=choices.max_nodes,
        v_switch_ids=list(network.private), multi_az_policy="BALANCE", default_cooldown=300,
        health_check_types=["ECS", "LOAD_BALANCER"], group_deletion_protection=True, scaling_group_name="banksight",
        removal_policys=["OldestScalingConfiguration", "OldestInstance"],
        server_groups=[
            types.ServerGroupsProperty(server_group_id=edge.api, port=3000, type="ALB", weight=100),
            types.ServerGroupsProperty(server_group_id=edge.chat, port=8000, type="ALB", weight=100),
        ],
    ))  # fmt: skip
    group_id = text(group.attr_scaling_group_id)
    configuration = ess.ScalingConfiguration(stack, "NodeConfiguration", ess.ScalingConfigurationProps(
        scaling_group_id=group_id, instance_types=[choices.of_size("Type")], image_id=choices.image,
        scaling_configuration_name="banksight", instance_name="banksight-node", security_group_id=network.node_group,
        internet_max_bandwidth_out=0, ram_role_name=permissions.node_role, system_disk_category="cloud_essd",
        system_disk_size=120, system_disk_encrypted=True, system_disk_kms_key_id=permissions.key,
        tag_list=[ess.RosScalingConfiguration.TagListProperty(key="banksight", value="node")],
        user_data=_user_data("launch.sh", stores, {
            "BACKEND_DIGEST": choices.backend_digest, "UI_DIGEST": choices.ui_digest, "CHROMA": chroma,
            "ENGINE": choices.of_size("Engine"), "SLOTS": choices.of_size("Slots"),
            "ADMITTED": choices.of_size("Admitted"), "GPUS": choices.of_size("Gpus"),
            "METRICS_GROUP": metrics, "API_HOST": choices.api_host,
        }),
    ))  # fmt: skip
    # Time for what is being answered (server.drain_seconds); the balancer sends nothing new from the first second on.
    ess.LifecycleHook(stack, "Drain", ess.LifecycleHookProps(
        scaling_group_id=group_id, lifecycle_transition="SCALE_IN", heartbeat_timeout=60, default_result="CONTINUE"
    ))  # fmt: skip
    ess.ScalingGroupEnable(stack, "NodesEnabled", ess.ScalingGroupEnableProps(
        scaling_group_id=group_id, scaling_configuration_id=text(configuration.attr_scaling_configuration_id)
    ))  # fmt: skip
    return group_id


def _user_data(script: str, stores: Stores, values: dict[str, Any]) -> Any:
    """The script with its values, and with the files that it takes in: `@COMMON@` and `@P95@`."""
    values = values | {
        "REGION": text(core.Fn.ref("ALIYUN::Region")), "REGISTRY": stores.registry, "REGISTRY_ID": stores.registry_id,
        "WEIGHTS": stores.weights, "MODELS_BUCKET": stores.buckets["models"],
    }  # fmt: skip
    body = (_FOLDER / script).read_text(encoding="utf-8")
    for name, file in (("@COMMON@", "common.sh"), ("@P95@", "p95.py")):
        body = body.replace(name, (_FOLDER / file).read_text(encoding="utf-8"))
    return core.Fn.replace({f"@{name}@": value for name, value in values.items()}, body)
