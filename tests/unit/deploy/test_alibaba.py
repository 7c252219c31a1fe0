"""What the template for Alibaba Cloud promises. docs/alibaba.md says what only the cloud can tell."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "configs" / "deploy" / "alibaba"
TEMPLATE = json.loads((FOLDER / "template.json").read_text(encoding="utf-8"))
DOCS = (Path(__file__).parents[3] / "docs" / "alibaba.md").read_text(encoding="utf-8")


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def properties(name: str) -> dict[str, Any]:
    return TEMPLATE["Resources"][name]["Properties"]  # type: ignore[no-any-return]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in TEMPLATE["Resources"].items()
        if resource["Type"] == f"ALIYUN::{kind}"
    }


def attribute(resource: str, name: str) -> dict[str, list[str]]:
    return {"Fn::GetAtt": [resource, name]}


def open_ports(group: str) -> set[tuple[str, str]]:
    return {(rule["PortRange"], rule["SourceCidrIp"]) for rule in properties(group)["SecurityGroupIngress"]}


def user_data(resource: str) -> tuple[dict[str, Any], str]:
    values, script = properties(resource)["UserData"]["Fn::Replace"]
    return values, script


def test_template_was_made_from_these_sources() -> None:
    synthesise = module("synthesise")
    recorded = TEMPLATE["Metadata"]["BankSight"]
    assert recorded["Sources"] == synthesise.source_digest(), "run `make cloud`, and commit template.json"
    assert recorded["Template"] == synthesise.template_digest(TEMPLATE), "template.json was changed by hand"


def test_digests_notice_a_changed_template() -> None:
    synthesise = module("synthesise")
    changed = json.loads(json.dumps(TEMPLATE))
    changed["Parameters"]["MaxNodes"]["Default"] = 11
    assert synthesise.template_digest(changed) != synthesise.template_digest(TEMPLATE)


def test_template_fits_into_what_ros_takes() -> None:
    assert TEMPLATE["ROSTemplateFormatVersion"] == "2015-09-01"
    assert (FOLDER / "template.json").stat().st_size < 512 * 1024
    assert len(TEMPLATE["Resources"]) <= 300


def test_every_reference_names_something_in_the_template() -> None:
    known = set(TEMPLATE["Parameters"]) | set(TEMPLATE["Resources"])
    text = json.dumps(TEMPLATE)
    for name in set(re.findall(r'"Ref": "([^"]+)"', text)) | set(re.findall(r'"Fn::GetAtt": \["([^"]+)"', text)):
        assert name in known or name.startswith("ALIYUN::"), name
    conditions = {resource["Condition"] for resource in TEMPLATE["Resources"].values() if "Condition" in resource}
    assert conditions <= set(TEMPLATE["Conditions"])


@pytest.mark.proves("SOC 2 CC6.6", "ISO A.8.20")
def test_only_https_is_open_to_the_world() -> None:
    everywhere = {
        (name, rule["PortRange"])
        for name, group in of_type("ECS::SecurityGroup").items()
        for rule in group["SecurityGroupIngress"]
        if rule["SourceCidrIp"] == "0.0.0.0/0"
    }
    assert everywhere == {("BalancerGroup", "443/443")}


def test_inner_ports_are_open_to_private_networks_only() -> None:
    edge = {switch["CidrBlock"] for name, switch in of_type("ECS::VSwitch").items() if name.startswith("Edge")}
    private = {switch["CidrBlock"] for name, switch in of_type("ECS::VSwitch").items() if name.startswith("Private")}
    assert open_ports("NodeGroup") == {(f"{port}/{port}", block) for port in (3000, 8000) for block in edge}
    assert open_ports("StoreGroup") == {(f"{port}/{port}", block) for port in (6379, 5432, 8001) for block in private}


def test_network_spans_two_zones_with_switches_that_do_not_overlap() -> None:
    switches = of_type("ECS::VSwitch")
    whole = ipaddress.ip_network(properties("Network")["CidrBlock"])
    blocks = [ipaddress.ip_network(switch["CidrBlock"]) for switch in switches.values()]
    assert all(block.subnet_of(whole) for block in blocks)  # type: ignore[arg-type]
    assert not any(one.overlaps(other) for one in blocks for other in blocks if one is not other)
    for kind in ("Edge", "Private"):
        assert [switches[f"{kind}{letter}"]["ZoneId"]["Ref"] for letter in "AB"] == ["ZoneA", "ZoneB"]


def test_no_machine_has_a_public_address() -> None:
    assert properties("ChromaNode")["AllocatePublicIP"] is False
    assert properties("ChromaNode")["InternetMaxBandwidthOut"] == 0
    assert properties("NodeConfiguration")["InternetMaxBandwidthOut"] == 0
    assert not of_type("VPC::EIP")


@pytest.mark.proves("ISO A.8.14")
def test_group_has_two_to_ten_nodes_and_starts_with_three() -> None:
    nodes = properties("Nodes")
    sizes = [TEMPLATE["Parameters"][nodes[key]["Ref"]]["Default"] for key in ("MinSize", "DesiredCapacity", "MaxSize")]
    assert sizes == [2, 3, 10]
    assert nodes["VSwitchIds"] == [attribute("PrivateA", "VSwitchId"), attribute("PrivateB", "VSwitchId")]
    assert nodes["MultiAZPolicy"] == "BALANCE"
    assert nodes["HealthCheckTypes"] == ["ECS", "LOAD_BALANCER"]


@pytest.mark.parametrize(
    ("size", "instance", "engine"),
    [
        ("v100-16", "ecs.gn6v-c8g1.2xlarge", "mistral"),
        ("t4-16", "ecs.gn6i-c8g1.2xlarge", "mistral"),
        ("t4-16-large", "ecs.gn6i-c16g1.4xlarge", "mistral"),
        ("v100-32", "ecs.gn6e-c12g1.3xlarge", "mistral"),
        ("cpu", "ecs.g6.2xlarge", "extractive"),
        ("cpu-large", "ecs.g6.4xlarge", "extractive"),
    ],
)
def test_sizes_of_nodes_are_a_parameter(size: str, instance: str, engine: str) -> None:
    row = TEMPLATE["Mappings"]["Sizes"][size]
    assert (row["Type"], row["Engine"]) == (instance, engine)
    assert size in TEMPLATE["Parameters"]["NodeSize"]["AllowedValues"]
    assert (row["Gpus"] == "none") == (engine == "extractive")
    assert properties("NodeConfiguration")["InstanceTypes"] == [
        {"Fn::FindInMap": ["Sizes", {"Ref": "NodeSize"}, "Type"]}
    ]
    assert f"`{size}`" in DOCS
    assert instance in DOCS


def test_default_size_is_the_v100() -> None:
    assert TEMPLATE["Parameters"]["NodeSize"]["Default"] == "v100-16"


@pytest.mark.parametrize(
    ("name", "metric", "operator", "threshold", "seconds", "change"),
    [
        ("GpuBusy", "GpuUtilizationAgent", ">", 75, 300, 1),
        ("RequestsMany", "LoadBalancerRealServerAverageQps", ">", 2.8, 180, 2),
        ("GpuIdle", "GpuUtilizationAgent", "<", 30, 900, -1),
        ("AnswersSlow", "banksight_answer_p95_seconds", ">", 10, 300, 1),
    ],
)
def test_group_scales_by_gpu_requests_and_answer_time(
    name: str, metric: str, operator: str, threshold: float, seconds: int, change: int
) -> None:
    alarm = properties(name)
    assert (alarm["MetricName"], alarm["ComparisonOperator"], alarm["Threshold"]) == (metric, operator, threshold)
    assert alarm["Period"] * alarm["EvaluationCount"] == seconds
    assert alarm["Period"] in {15, 60, 120, 300, 900}
    ((rule, _),) = (action["Fn::GetAtt"] for action in alarm["AlarmAction"])
    assert properties(rule)["AdjustmentType"] == "QuantityChangeInCapacity"
    assert properties(rule)["AdjustmentValue"] == change


def test_request_alarm_is_five_hundred_a_minute_over_three_nodes() -> None:
    alarm = properties("RequestsMany")
    assert alarm["Threshold"] == round(500 / 60 / TEMPLATE["Parameters"]["DesiredNodes"]["Default"], 1)
    assert alarm["Dimensions"] == [
        {"DimensionKey": "rulePool", "DimensionValue": attribute("ApiServers", "ServerGroupId")}
    ]


def test_answer_time_alarm_reads_what_the_nodes_report() -> None:
    values, script = user_data("NodeConfiguration")
    assert properties("AnswersSlow")["MetricType"] == "custom"
    assert properties("AnswersSlow")["GroupId"] == values["@METRICS_GROUP@"] == attribute("AnswerTimes", "GroupId")
    assert properties("AnswersSlow")["MetricName"] == module("p95").METRIC
    assert module("p95").METRIC in script


@pytest.mark.parametrize("group", ["ApiServers", "ChatServers"])
def test_balancer_asks_readyz_under_a_name_that_the_api_accepts(group: str) -> None:
    check = properties(group)["HealthCheckConfig"]
    assert check["HealthCheckPath"] == "/readyz"
    assert check["HealthCheckConnectPort"] == 3000
    assert check["HealthCheckHost"] == {"Ref": "ApiHost"}
    assert 'ALLOWED_HOSTS=["@API_HOST@"]' in user_data("NodeConfiguration")[1]


def test_balancer_lets_streams_live_and_nodes_drain() -> None:
    https = properties("Https")
    assert https["RequestTimeout"] > 30  # server.deadline_seconds
    assert https["IdleTimeout"] > 60  # two pings of the chat's socket
    assert https["GzipEnabled"] is False
    for group in ("ApiServers", "ChatServers"):
        drain = properties(group)["ConnectionDrainConfig"]
        assert drain["ConnectionDrainEnabled"] is True
        assert drain["ConnectionDrainTimeout"] >= 25  # server.drain_seconds
    assert (
        properties("Drain")["HeartbeatTimeout"]
        >= properties("ApiServers")["ConnectionDrainConfig"]["ConnectionDrainTimeout"]
    )


def test_browsers_stay_with_their_chat_and_api_calls_go_to_the_least_busy() -> None:
    assert properties("ChatServers")["StickySessionConfig"]["StickySessionEnabled"] is True
    assert "StickySessionConfig" not in properties("ApiServers")
    assert properties("ApiServers")["Scheduler"] == "Wlc"


def test_balancer_speaks_tls_1_3_only_and_listens_nowhere_else() -> None:
    (listener,) = of_type("ALB::Listener").values()
    assert (listener["ListenerPort"], listener["ListenerProtocol"]) == (443, "HTTPS")
    assert listener["SecurityPolicyId"] == attribute("OnlyTls13", "SecurityPolicyId")
    assert properties("OnlyTls13")["TLSVersions"] == ["TLSv1.3"]


def test_callers_cannot_reach_what_is_for_operators() -> None:
    hidden = {
        path
        for rule in of_type("ALB::Rule").values()
        if any(action["Type"] == "FixedResponse" for action in rule["RuleActions"])
        for condition in rule["RuleConditions"]
        for path in condition["PathConfig"]["Values"]
    }
    assert {"/metrics", "/livez", "/readyz", "/docs", "/schema"} <= hidden
    priorities = [rule["Priority"] for rule in of_type("ALB::Rule").values()]
    assert len(priorities) == len(set(priorities))
    assert properties("OperatorsOnly2")["Priority"] < properties("ApiByName")["Priority"]


def test_chroma_disks_are_encrypted_and_saved_every_night() -> None:
    machine = properties("ChromaNode")
    (disk,) = machine["DiskMappings"]
    assert (disk["Encrypted"], disk["KMSKeyId"]) == ("true", attribute("Key", "KeyId"))
    assert machine["SystemDiskEncrypted"] == "true"
    assert disk["AutoSnapshotPolicyId"] == attribute("NightlySnapshots", "AutoSnapshotPolicyId")
    assert properties("NightlySnapshots")["RetentionDays"] == 30
    assert properties("NightlySnapshots")["RepeatWeekdays"] == [1, 2, 3, 4, 5, 6, 7]
    assert machine["HttpTokens"] == "required"


def test_disks_of_nodes_are_encrypted() -> None:
    assert properties("NodeConfiguration")["SystemDiskEncrypted"] is True
    assert properties("NodeConfiguration")["SystemDiskKMSKeyId"] == attribute("Key", "KeyId")


def test_redis_wants_tls_and_a_password() -> None:
    redis = properties("Redis")
    assert (redis["SSLEnabled"], redis["VpcPasswordFree"], redis["Password"]) == (
        "Enable",
        False,
        {"Ref": "RedisPassword"},
    )
    parts = properties("StoredRedis")["SecretData"]["Fn::Join"][1]
    assert parts[0].startswith("rediss://")
    assert "ssl_ca_certs=" in parts[-1]


def test_database_is_encrypted_spread_over_zones_and_saved_for_thirty_days() -> None:
    database = properties("Database")
    assert (database["Engine"], database["Category"], database["Port"]) == ("PostgreSQL", "HighAvailability", 5432)
    assert (database["ZoneId"], database["SlaveZoneIds"]) == ({"Ref": "ZoneA"}, [{"Ref": "ZoneB"}])
    assert database["EncryptionKey"] == attribute("Key", "KeyId")
    assert database["SSLSetting"] == "EnabledForInnerConnection"
    assert database["BackupRetentionPeriod"] == database["LogBackupRetentionPeriod"] == 30
    assert database["DBInstanceNetType"] == "Intranet"
    assert "sslmode=verify-ca" in properties("StoredDatabase")["SecretData"]["Fn::Join"][1][-1]


@pytest.mark.parametrize("name", ["ModelsBucket", "DocumentsBucket", "BackupsBucket"])
def test_buckets_are_private_versioned_encrypted_and_outlive_the_stack(name: str) -> None:
    bucket = properties(name)
    assert (bucket["AccessControl"], bucket["BlockPublicAccess"]) == ("private", True)
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["ServerSideEncryptionConfiguration"]["SSEAlgorithm"] == "KMS"
    assert TEMPLATE["Resources"][name]["DeletionPolicy"] == "Retain"


def test_no_object_ends_by_its_age() -> None:
    """Backups share pieces: one of today is lost with a piece that one of last year wrote."""
    for bucket in of_type("OSS::Bucket").values():
        assert not [rule for rule in bucket["LifecycleConfiguration"]["Rule"] if "Expiration" in rule]


def test_only_backups_are_deleted_and_their_versions_stay() -> None:
    roles = of_type("RAM::Role")
    for role in roles.values():
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]:
            for action in statement["Action"]:
                if "Delete" in action:
                    assert (action, role) == ("oss:DeleteObject", roles["ChromaRole"])
                    assert all("-backups" in json.dumps(resource) for resource in statement["Resource"])


@pytest.mark.parametrize("name", ["DocumentsReplication", "BackupsReplication"])
def test_documents_and_backups_are_copied_to_the_other_region_without_deletions(name: str) -> None:
    rule = properties(name)["ReplicationConfiguration"]["Rule"]
    assert rule["Action"] == "PUT"
    assert {"Ref": "DrRegion"} in rule["Destination"]["Location"]["Fn::Join"][1]
    assert rule["EncryptionConfiguration"] == {"ReplicaKmsKeyID": {"Ref": "DrKeyId"}}
    assert rule["SyncRole"] == attribute("ReplicationRole", "RoleName")
    assert TEMPLATE["Resources"][name]["Condition"] == "IsPrimary"


def test_weights_are_read_only_on_nodes_and_never_in_the_image() -> None:
    values, script = user_data("NodeConfiguration")
    assert values["@WEIGHTS@"] == attribute("WeightsMount", "MountTargetDomain")
    assert "-v $FILES/weights:/weights:ro" in script
    assert properties("Weights")["EncryptType"] == 1


def test_images_are_private_immutable_and_pulled_by_digest() -> None:
    names = {image["RepoName"] for image in of_type("CR::Repository").values()}
    assert names == {"banksight-backend", "banksight-ui", "banksight-chroma"}
    assert all(image["TagImmutability"] is True for image in of_type("CR::Repository").values())
    assert all(image["RepoType"] == "PRIVATE" for image in of_type("CR::Repository").values())
    for machine, digests in (("NodeConfiguration", ("BACKEND", "UI")), ("ChromaNode", ("CHROMA", "WORKER"))):
        values, script = user_data(machine)
        for digest in digests:
            assert f"@@{digest}_DIGEST@" in script
            assert (
                TEMPLATE["Parameters"][values[f"@{digest}_DIGEST@"]["Ref"]]["AllowedPattern"] == "^sha256:[0-9a-f]{64}$"
            )
        assert not re.search(r"docker pull.*:latest", script)


def test_secrets_are_never_shown_nor_in_what_a_machine_is_started_with() -> None:
    secret = {"DatabasePassword", "RedisPassword", "CacheSecret", "KeyPepper", "BackupPassword"}
    assert {name for name, parameter in TEMPLATE["Parameters"].items() if parameter.get("NoEcho")} == secret
    assert not any("Default" in TEMPLATE["Parameters"][name] for name in secret)
    for machine in ("NodeConfiguration", "ChromaNode"):
        assert not secret & set(re.findall(r'"Ref": "([^"]+)"', json.dumps(properties(machine))))
    assert not secret & set(re.findall(r'"Ref": "([^"]+)"', json.dumps(TEMPLATE["Outputs"])))


def test_machines_fetch_their_secrets_into_memory() -> None:
    _, script = user_data("NodeConfiguration")
    names = {secret["SecretName"].removeprefix("banksight/") for secret in of_type("KMS::Secret").values()}
    assert names == {"database-url", "redis-url", "cache-secret", "key-pepper", "backup-password"}
    assert "backup-password" not in script
    assert "BACKUP_PASSWORD_FILE=/run/secrets/backup-password" in user_data("ChromaNode")[1]
    names.remove("backup-password")
    for name in names:
        assert f"{name.upper().replace('-', '_')}_FILE=/run/secrets/{name}" in script
    assert "mount -t tmpfs" in script
    assert "umask 077" in script
    assert all(secret["EncryptionKeyId"] == attribute("Key", "KeyId") for secret in of_type("KMS::Secret").values())


def test_key_is_made_anew_every_year_and_hard_to_lose() -> None:
    key = properties("Key")
    assert (key["EnableAutomaticRotation"], key["RotationInterval"], key["DeletionProtection"]) == (True, "365d", True)
    assert TEMPLATE["Resources"]["Key"]["DeletionPolicy"] == "Retain"


def test_every_allowed_action_has_a_reason_and_no_wildcard() -> None:
    reasons = TEMPLATE["Metadata"]["BankSight"]["Permissions"]
    roles = of_type("RAM::Role")
    assert {f"{role.capitalize()}Role" for role in reasons} == set(roles)
    for role, grants in reasons.items():
        (policy,) = roles[f"{role.capitalize()}Role"]["Policies"]
        allowed = sorted(
            action for statement in policy["PolicyDocument"]["Statement"] for action in statement["Action"]
        )
        assert allowed == sorted(action for actions in grants.values() for action in actions)
        for actions in grants.values():
            for action, reason in actions.items():
                assert "*" not in action
                assert len(reason) > 10
                assert f"`{action}`" in DOCS


def test_only_actions_without_narrower_resources_are_allowed_on_everything() -> None:
    wide = {
        action
        for role in of_type("RAM::Role").values()
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        for action in statement["Action"]
        if "*" in statement["Resource"]
    }
    assert wide == {"cr:GetAuthorizationToken", "cms:PutCustomMetric"}


def test_logs_of_service_and_balancer_are_kept_thirty_days_encrypted() -> None:
    stores = of_type("SLS::Logstore")
    assert {store["LogstoreName"]: store["TTL"] for store in stores.values()} == {"service": 30, "balancer": 30}
    assert all(store["EncryptConf"]["Enable"] is True for store in stores.values())
    detail = properties("ServiceLogLines")["RawConfigData"]["inputDetail"]
    assert (detail["logPath"], detail["filePattern"]) == ("/var/log/banksight", "banksight-*.jsonl")
    assert "LOG_DIR=/var/log/banksight" in user_data("NodeConfiguration")[1]
    assert properties("LogSources")["MachineList"] == ["banksight-node"]
    assert "echo banksight-node > /etc/ilogtail/user_defined_id" in user_data("NodeConfiguration")[1]
    assert properties("Balancer")["AccessLogConfig"]["LogStore"] == attribute("BalancerLog", "LogstoreName")


def test_operators_hear_of_machines_stores_balancer_and_what_callers_see() -> None:
    template = {rule["MetricName"]: rule for rule in properties("MachineAlarms")["AlertTemplates"]}
    hot = template["instance_gpu_gpu_temperature"]["Escalations"]["Critical"]
    assert (hot["Threshold"], hot["Times"], hot["ComparisonOperator"]) == ("80", 2, "GreaterThanThreshold")
    assert {"cpu_total", "memory_usedutilization", "diskusage_utilization"} <= set(template)
    machines = properties("Machines")
    assert machines["EnableInstallAgent"] is True
    tags = {properties("ChromaNode")["Tags"][0]["Value"], properties("NodeConfiguration")["TagList"][0]["Value"]}
    assert {expression["TagValue"] for expression in machines["MatchExpress"]} == tags
    watched = {rule["Namespace"] for rule in of_type("CMS::ResourceMetricRule").values()}
    assert watched == {"acs_rds_dashboard", "acs_kvstore", "acs_alb"}
    assert properties("Operators")["Channels"]["Mail"] == {"Ref": "OperatorsMail"}
    assert "/health" in json.dumps(properties("SeenFromOutside")["Address"])


def test_static_files_come_from_the_cdn_only_where_it_has_a_name() -> None:
    assert TEMPLATE["Parameters"]["StaticHost"]["Default"] == ""
    for name in ("StaticFilesCdn", "StaticFilesCdnRules", "StaticFiles"):
        assert TEMPLATE["Resources"][name]["Condition"] == "HasCdn"
    assert properties("StaticFilesCdn")["OriginServers"][0]["Content"] == attribute("Balancer", "DNSName")


def test_name_moves_to_the_standby_region_when_health_fails() -> None:
    failover = properties("Failover")
    assert failover["DefaultAddrPool"] == [{"Id": attribute("PrimaryPool", "AddrPoolId")}]
    assert failover["FailoverAddrPool"] == [{"Id": attribute("StandbyPool", "AddrPoolId")}]
    assert failover["AccessMode"] == "AUTO"
    assert properties("PrimaryPool")["Addr"][0]["Addr"] == attribute("Balancer", "DNSName")
    assert properties("StandbyPool")["Addr"][0]["Addr"] == {"Ref": "StandbyAddress"}
    assert properties("PrimaryPool")["MonitorExtendInfo"]["path"] == "/health"
    assert properties("PrimaryPool")["MonitorStatus"] == "OPEN"


def test_stores_survive_a_deleted_stack() -> None:
    assert properties("Database")["DeletionProtection"] is True
    assert properties("Redis")["DeletionProtection"] is True
    assert properties("Balancer")["DeletionProtectionEnabled"] is True
    assert properties("Nodes")["GroupDeletionProtection"] is True


@pytest.mark.parametrize(("machine", "file"), [("NodeConfiguration", "launch.sh"), ("ChromaNode", "chroma.sh")])
def test_start_scripts_are_bash_and_all_their_values_are_given(machine: str, file: str) -> None:
    values, script = user_data(machine)
    assert set(re.findall(r"@[A-Z][A-Z0-9_]+@", script)) <= set(values)
    assert len(script.encode()) < 16 * 1024  # of user data
    result = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert script.splitlines()[:2] == (FOLDER / file).read_text(encoding="utf-8").splitlines()[:2]


def test_one_machine_writes_the_corpus_and_all_share_originals_and_uploads() -> None:
    _, node = user_data("NodeConfiguration")
    values, maker = user_data("ChromaNode")
    for script in (node, maker):
        assert "-v $FILES/files:/files " in script
        assert "FILES_DIR=/files" in script
    assert "$WORKER worker.sh" in maker
    assert "worker.sh" not in node
    assert values["@DOCUMENTS_BUCKET@"] == attribute("DocumentsBucket", "Name")


def test_machines_start_after_what_they_fetch_and_nodes_after_the_corpus() -> None:
    assert set(of_type("KMS::Secret")) <= set(TEMPLATE["Resources"]["ChromaNode"]["DependsOn"])
    assert "ChromaNode" in json.dumps(user_data("NodeConfiguration")[0]["@CHROMA@"])


METRICS = """\
http_request_duration_seconds_bucket{le="5.0",method="POST",route="/v1/ask"} 90
http_request_duration_seconds_bucket{le="10.0",method="POST",route="/v1/ask"} 98
http_request_duration_seconds_bucket{le="+Inf",method="POST",route="/v1/ask"} 100
http_request_duration_seconds_bucket{le="5.0",method="GET",route="/readyz"} 5000
http_request_duration_seconds_bucket{le="+Inf",method="GET",route="/readyz"} 5000
"""


def test_nodes_report_the_percentile_of_answers_within_its_bucket() -> None:
    p95 = module("p95")
    counts = p95.buckets(METRICS)
    assert counts == {5.0: 90, 10.0: 98, float("inf"): 100}
    assert p95.percentile({}, counts) == pytest.approx(5 + 5 * 5 / 8)


def test_nodes_report_the_last_minute_only() -> None:
    p95 = module("p95")
    before = {5.0: 100.0, 10.0: 100.0, float("inf"): 100.0}
    assert p95.percentile(before, {5.0: 100.0, 10.0: 120.0, float("inf"): 120.0}) == pytest.approx(9.75)
    assert p95.percentile(before, before) == 0
    assert p95.percentile(before, {5.0: 10.0, 10.0: 10.0, float("inf"): 10.0}) == pytest.approx(4.75)  # a new process


def test_nodes_report_the_largest_bound_for_answers_beyond_it() -> None:
    assert module("p95").percentile({}, {30.0: 0.0, float("inf"): 10.0}) == 30
