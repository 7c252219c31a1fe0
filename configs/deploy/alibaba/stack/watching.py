"""Logs, and who is told what. Prometheus rules watch the service itself; these watch what lies around it."""

from __future__ import annotations

from dataclasses import dataclass

import ros_cdk_cms as cms
import ros_cdk_core as core
import ros_cdk_sls as sls

from stack.edge import Edge
from stack.network import text
from stack.parameters import Choices
from stack.stores import Stores

LOGS = {"service": 30, "balancer": 30}  # name -> days that lines are kept
PROJECT = "banksight-logs"


@dataclass(frozen=True)
class NodeAlarm:
    """An alarm for every machine with our tag: CloudMonitor's agent measures it."""

    name: str
    metric: str
    threshold: str
    times: int  # minutes in a row


NODE_ALARMS = (
    NodeAlarm("processor", "cpu_total", "90", 5),
    NodeAlarm("memory", "memory_usedutilization", "90", 5),
    NodeAlarm("disk", "diskusage_utilization", "85", 5),
    NodeAlarm("gpu-hot", "instance_gpu_gpu_temperature", "80", 2),
    NodeAlarm("gpu-memory", "instance_gpu_memory_usedutilization", "97", 5),
)


def build_logs(stack: core.Stack) -> tuple[str, str]:
    """Logs of nodes, which get there through Logtail, and of the balancer: the names of project and balancer's log."""
    region = text(core.Fn.ref("ALIYUN::Region"))
    project = sls.Project(stack, "Logs", sls.ProjectProps(name=f"{PROJECT}-{region}", data_redundancy_type="ZRS"))
    name = text(project.attr_name)
    stores: dict[str, str] = {}
    for log, days in LOGS.items():
        store = sls.Logstore(stack, f"{log.capitalize()}Log", sls.LogstoreProps(
            project_name=name, logstore_name=log, ttl=days, shard_count=2, auto_split=True, max_split_shard=8,
            encrypt_conf=sls.RosLogstore.EncryptConfProperty(enable=True, encrypt_type="default"),
        ))  # fmt: skip
        stores[log] = text(store.attr_logstore_name)
        sls.Index(stack, f"{log.capitalize()}Index", sls.IndexProps(
            project_name=name, logstore_name=stores[log],
            full_text_index=sls.RosIndex.FullTextIndexProperty(enable=True),
            key_indices=[
                sls.RosIndex.KeyIndicesProperty(name=key, type=kind, enable_analytics=True)
                for key, kind in (("level", "text"), ("request_id", "text"), ("status", "long"))
            ],
        ))  # fmt: skip
    machines = sls.MachineGroup(stack, "LogSources", sls.MachineGroupProps(
        project_name=name, group_name="banksight-nodes", machine_identify_type="userdefined",
        machine_list=["banksight-node"]
    ))  # fmt: skip
    config = sls.LogtailConfig(stack, "ServiceLogLines", sls.LogtailConfigProps(
        project_name=name, logstore_name=stores["service"], logtail_config_name="service", raw_config_data={
            "inputType": "file",
            "inputDetail": {"logType": "json_log", "logPath": "/var/log/banksight", "filePattern": "banksight-*.jsonl",
                            "fileEncoding": "utf8", "maxDepth": 1, "discardUnmatch": False, "localStorage": True},
        },
    ))  # fmt: skip
    sls.ApplyConfigToMachineGroup(stack, "ServiceLogLinesApplied", sls.ApplyConfigToMachineGroupProps(
        project_name=name, config_name=text(config.attr_logtail_config_name), group_name=text(machines.attr_group_name)
    ))  # fmt: skip
    return name, stores["balancer"]


def build_metrics_group(stack: core.Stack, contacts: str) -> core.IResolvable:
    """The application group that the nodes report their 95th percentile to; its id."""
    return cms.MonitorGroup(
        stack, "AnswerTimes", cms.MonitorGroupProps(group_name="banksight", contact_groups=contacts)
    ).attr_group_id


def build_contacts(stack: core.Stack, choices: Choices) -> str:
    """Who is told; the name of the contact group."""
    contact = cms.Contact(stack, "Operators", cms.ContactProps(
        contact_name="banksight-operators", describe="On call for BankSight",
        channels=cms.RosContact.ChannelsProperty(mail=choices.operators_mail),
    ))  # fmt: skip
    group = cms.ContactGroup(stack, "OperatorsGroup", cms.ContactGroupProps(
        contact_group_name="banksight", contact_names=["banksight-operators"], describe="BankSight"
    ))  # fmt: skip
    group.add_dependency(contact)
    return text(group.attr_contact_group_name)


def build_alarms(stack: core.Stack, choices: Choices, contacts: str, stores: Stores, edge: Edge) -> None:
    """Alarms on machines, database, Redis, the balancer, and on what a caller sees from outside."""
    _machines(stack, contacts)
    for name, namespace, metric, resource, threshold in (
        ("DatabaseDisk", "acs_rds_dashboard", "DiskUsage", {"instanceId": stores.database_id}, "80"),
        ("DatabaseProcessor", "acs_rds_dashboard", "CpuUsage", {"instanceId": stores.database_id}, "80"),
        ("RedisMemory", "acs_kvstore", "StandardMemoryUsage", {"instanceId": stores.redis_id}, "90"),
        ("NodesUnhealthy", "acs_alb", "LoadBalancerUnHealthyHostCount", {"loadBalancerId": edge.balancer}, "0"),
        ("AnswersFailed", "acs_alb", "LoadBalancerHTTPCode5XX", {"loadBalancerId": edge.balancer}, "10"),
    ):
        cms.ResourceMetricRule(stack, name, cms.ResourceMetricRuleProps(
            contact_groups=[contacts], namespace=namespace, metric_name=metric, rule_name=f"banksight-{name}",
            resources=[resource], period=60, silence_time=3600, interval=60,
            escalations=cms.RosResourceMetricRule.EscalationsProperty(
                critical=cms.RosResourceMetricRule.CriticalProperty(
                    comparison_operator="GreaterThanThreshold", statistics="Average", threshold=threshold, times=3
                )
            ),
        ))  # fmt: skip
    monitor = cms.SiteMonitor(stack, "SeenFromOutside", cms.SiteMonitorProps(
        task_name="banksight-health", task_type="HTTP", address=f"https://{choices.api_host}/health", interval=1,
        options_json='{"http_method": "get", "time_out": 10000}',
    ))  # fmt: skip
    monitor.add_condition(choices.is_primary)


def _machines(stack: core.Stack, contacts: str) -> None:
    types = cms.RosMetricRuleTemplate
    template = cms.MetricRuleTemplate(stack, "MachineAlarms", cms.MetricRuleTemplateProps(
        name="banksight-machines", alert_templates=[
            types.AlertTemplatesProperty(
                category="ecs", namespace="acs_ecs_dashboard", metric_name=alarm.metric,
                rule_name=f"banksight-{alarm.name}",
                period=60, escalations=types.EscalationsProperty(critical=types.CriticalProperty(
                    comparison_operator="GreaterThanThreshold", statistics="Average", threshold=alarm.threshold,
                    times=alarm.times,
                )),
            )
            for alarm in NODE_ALARMS
        ],
    ))  # fmt: skip
    cms.DynamicTagGroup(stack, "Machines", cms.DynamicTagGroupProps(
        contact_group_list=[contacts], tag_key="banksight", enable_install_agent=True, enable_subscribe_event=True,
        match_express=[
            cms.RosDynamicTagGroup.MatchExpressProperty(tag_value="node", tag_value_match_function="equals"),
            cms.RosDynamicTagGroup.MatchExpressProperty(tag_value="chroma", tag_value_match_function="equals"),
        ],
        match_express_filter_relation="or", template_id_list=[text(template.attr_id)],
    ))  # fmt: skip
