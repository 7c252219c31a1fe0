"""A private network in two zones: the load balancer is the only thing with an address in the internet."""

from __future__ import annotations

from dataclasses import dataclass

import ros_cdk_core as core
import ros_cdk_ecs as ecs

from stack.parameters import Choices

VPC = "10.20.0.0/16"
EDGE = ("10.20.0.0/24", "10.20.1.0/24")  # the load balancer's feet; it asks the nodes from here
PRIVATE = ("10.20.10.0/24", "10.20.11.0/24")  # nodes and stores


@dataclass(frozen=True)
class Network:
    """Ids of what everything else stands in."""

    vpc: str
    edge: tuple[str, str]  # vSwitches of zone A and B
    private: tuple[str, str]
    balancer_group: str  # security groups
    node_group: str
    store_group: str


def text(value: object) -> str:
    """An attribute of a resource as text that may stand inside other text."""
    return core.Token.as_string(value)


def build_network(stack: core.Stack, choices: Choices) -> Network:
    """The VPC, its four vSwitches and three security groups."""
    vpc = text(ecs.Vpc(stack, "Network", ecs.VPCProps(cidr_block=VPC, vpc_name="banksight")).attr_vpc_id)
    zones = (choices.zone_a, choices.zone_b)

    def switches(name: str, blocks: tuple[str, str]) -> tuple[str, str]:
        first, second = (
            text(ecs.VSwitch(stack, f"{name}{letter}", ecs.VSwitchProps(
                cidr_block=block, vpc_id=vpc, zone_id=zone, v_switch_name=f"banksight-{name.lower()}-{letter.lower()}",
            )).attr_v_switch_id)
            for letter, block, zone in zip("AB", blocks, zones, strict=True)
        )  # fmt: skip
        return first, second

    balancer = _group(stack, "BalancerGroup", vpc, [(443, "0.0.0.0/0", "https from everywhere")])
    nodes = _group(stack, "NodeGroup", vpc, [
        (port, block, reason) for port, reason in ((3000, "API, and its /readyz"), (8000, "chat")) for block in EDGE
    ])  # fmt: skip
    stores = _group(stack, "StoreGroup", vpc, [
        (port, block, reason)
        for port, reason in ((6379, "Redis"), (5432, "PostgreSQL"), (8001, "Chroma"))
        for block in PRIVATE
    ])  # fmt: skip
    return Network(vpc, switches("Edge", EDGE), switches("Private", PRIVATE), balancer, nodes, stores)


def _group(stack: core.Stack, name: str, vpc: str, rules: list[tuple[int, str, str]]) -> str:
    ingress = [
        ecs.RosSecurityGroup.SecurityGroupIngressProperty(
            ip_protocol="tcp", port_range=f"{port}/{port}", source_cidr_ip=block, policy="accept", priority=1,
            nic_type="intranet", description=reason,
        )
        for port, block, reason in rules
    ]  # fmt: skip
    return text(ecs.SecurityGroup(stack, name, ecs.SecurityGroupProps(
        vpc_id=vpc, security_group_name=f"banksight-{name.lower()}", security_group_ingress=ingress,
    )).attr_security_group_id)  # fmt: skip
