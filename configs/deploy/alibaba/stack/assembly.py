"""Puts the parts together, in the order in which they need each other."""

from __future__ import annotations

import ros_cdk_core as core

from stack.edge import build_cdn, build_edge, build_failover
from stack.network import build_network
from stack.nodes import build_chroma, build_nodes
from stack.parameters import Choices
from stack.permissions import GRANTS, build_key, build_permissions, build_secrets
from stack.scaling import build_scaling
from stack.stores import build_stores
from stack.watching import build_alarms, build_contacts, build_logs, build_metrics_group


def build(stack: core.Stack) -> dict[str, dict[str, dict[str, str]]]:
    """Fill the stack; returns why each role may do what it may, for the template's metadata."""
    choices = Choices(stack)
    network = build_network(stack, choices)
    key = build_key(stack, choices)
    permissions = build_permissions(stack, choices, key)
    stores = build_stores(stack, choices, network, key, permissions.replication_role)
    secrets = build_secrets(stack, choices, key, (stores.database_url, stores.redis_url))
    project, balancer_log = build_logs(stack)
    contacts = build_contacts(stack, choices)
    metrics = build_metrics_group(stack, contacts)
    edge = build_edge(stack, choices, network, project, balancer_log)
    chroma = build_chroma(stack, choices, network, stores, permissions, secrets)
    group = build_nodes(stack, choices, network, stores, permissions, edge, chroma, metrics)
    build_scaling(stack, group, edge.api, metrics)
    build_cdn(stack, choices, edge)
    build_failover(stack, choices, edge)
    build_alarms(stack, choices, contacts, stores, edge)
    core.RosOutput(stack, "LoadBalancerName", value=edge.address, description="What the names' CNAME records point at")
    core.RosOutput(stack, "KeyId", value=key, description="As DrKeyId of the stack that sends copies here")
    core.RosOutput(stack, "WeightsServer", value=stores.weights, description="NFS server that takes the weights")
    core.RosOutput(stack, "ImageRegistry", value=stores.registry, description="Where images are pulled from")
    core.RosOutput(stack, "ScalingGroupId", value=group, description="The scaling group")
    return {role: {resource: dict(actions) for resource, actions in grants.items()} for role, grants in GRANTS.items()}
