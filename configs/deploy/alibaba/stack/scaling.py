"""When the group of nodes grows and shrinks."""

from __future__ import annotations

from dataclasses import dataclass

import ros_cdk_core as core
import ros_cdk_ess as ess

from stack.network import text

# 500 requests a minute in the whole group. Auto Scaling measures requests a second of each node: over 3 that is 2.8.
BUSY_QPS = 2.8


@dataclass(frozen=True)
class Trigger:
    """Scale by `change` nodes once `metric` was beyond `threshold` in `count` periods of `period` seconds in a row."""

    name: str
    metric: str
    comparison: str
    threshold: float
    period: int
    count: int
    change: int
    kind: str = "system"


TRIGGERS = (
    Trigger("GpuBusy", "GpuUtilizationAgent", ">", 75, 60, 5, +1),
    Trigger("RequestsMany", "LoadBalancerRealServerAverageQps", ">", BUSY_QPS, 60, 3, +2),
    Trigger("GpuIdle", "GpuUtilizationAgent", "<", 30, 300, 3, -1),
    Trigger("AnswersSlow", "banksight_answer_p95_seconds", ">", 10, 60, 5, +1, kind="custom"),
)


def build_scaling(stack: core.Stack, group: str, api: str, metrics: core.IResolvable) -> None:
    """A rule for each change, and an alarm for each trigger."""
    rules = {change: _rule(stack, group, change) for change in sorted({trigger.change for trigger in TRIGGERS})}
    for trigger in TRIGGERS:
        dimensions = None
        if trigger.metric.startswith("LoadBalancer"):
            dimensions = [ess.RosAlarmTask.DimensionsProperty(dimension_key="rulePool", dimension_value=api)]
        ess.AlarmTask(stack, trigger.name, ess.AlarmTaskProps(
            scaling_group_id=group, name=f"banksight-{trigger.name}", metric_type=trigger.kind,
            metric_name=trigger.metric, statistics="Average", comparison_operator=trigger.comparison,
            threshold=trigger.threshold, period=trigger.period, evaluation_count=trigger.count,
            alarm_action=[rules[trigger.change]], dimensions=dimensions,
            group_id=metrics if trigger.kind == "custom" else None,
        ))  # fmt: skip


def _rule(stack: core.Stack, group: str, change: int) -> str:
    name = f"Add{change}" if change > 0 else f"Remove{-change}"
    rule = ess.ScalingRule(stack, name, ess.ScalingRuleProps(
        scaling_group_id=group, scaling_rule_name=f"banksight-{name.lower()}", scaling_rule_type="SimpleScalingRule",
        adjustment_type="QuantityChangeInCapacity", adjustment_value=change, cooldown=300,
    ))  # fmt: skip
    return text(rule.attr_scaling_rule_ari)
