"""What remembers: PostgreSQL, Redis, the buckets, the file system for weights, and the registry of images."""

from __future__ import annotations

from dataclasses import dataclass

import ros_cdk_core as core
import ros_cdk_cr as cr
import ros_cdk_ecs as ecs
import ros_cdk_nas as nas
import ros_cdk_oss as oss
import ros_cdk_rds as rds
import ros_cdk_redis as redis

from stack.network import PRIVATE, Network, text
from stack.parameters import Choices

CA_FILE = "/etc/banksight/ca/ApsaraDB-CA-Chain.pem"  # on the nodes: who signs ApsaraDB's and Tair's certificates
BUCKETS = ("models", "documents", "backups")
REPLICATED = ("documents", "backups")  # weights come from their publisher again, by digest
REPOSITORIES = ("backend", "ui", "chroma")  # as `make image` names them; no proxy, the balancer is one


@dataclass(frozen=True)
class Stores:
    """Where the stores are reached."""

    database_id: str
    database_url: str  # with its password
    redis_id: str
    redis_url: str  # with its password
    buckets: dict[str, str]
    weights: str  # NFS server of the mount target
    registry: str  # host and namespace of images, inside the network
    registry_id: str


def build_stores(stack: core.Stack, choices: Choices, network: Network, key: str, replication_role: str) -> Stores:
    """Everything that keeps data, encrypted with `key` where the service takes one."""
    database_id, database_url = _database(stack, choices, network, key)
    redis_id, redis_url = _redis(stack, choices, network)
    buckets = {name: _bucket(stack, choices, name, key) for name in BUCKETS}
    for name in REPLICATED:
        _replicate(stack, choices, name, buckets[name], replication_role)
    registry, registry_id = _registry(stack, network)
    weights = _weights(stack, choices, network)
    return Stores(database_id, database_url, redis_id, redis_url, buckets, weights, registry, registry_id)


def _database(stack: core.Stack, choices: Choices, network: Network, key: str) -> tuple[str, str]:
    database = rds.DBInstance(stack, "Database", rds.DBInstanceProps(
        engine="PostgreSQL", engine_version="16.0", category="HighAvailability", db_instance_class="pg.n2.2c.2m",
        db_instance_storage=100, db_instance_storage_type="cloud_essd", db_instance_net_type="Intranet",
        vpc_id=network.vpc, v_switch_id=",".join(network.private), zone_id=choices.zone_a,
        slave_zone_ids=[choices.zone_b],
        security_ip_list=",".join(PRIVATE), security_group_id=network.store_group, encryption_key=key, port=5432,
        ssl_setting="EnabledForInnerConnection", master_username="banksight", master_user_type="Normal",
        master_user_password=choices.database_password, deletion_protection=True, backup_retention_period=30,
        preferred_backup_period=["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
        preferred_backup_time="01:00Z-02:00Z", enable_backup_log=True, log_backup_retention_period=30,
        db_mappings=[rds.RosDBInstance.DBMappingsProperty(db_name="banksight", character_set_name="UTF8")],
    ))  # fmt: skip
    host = text(database.attr_inner_connection_string)
    url = (
        f"postgresql+psycopg://banksight:{choices.database_password}@{host}:5432/banksight"
        f"?sslmode=verify-ca&sslrootcert={CA_FILE}"
    )
    return text(database.attr_db_instance_id), url


def _redis(stack: core.Stack, choices: Choices, network: Network) -> tuple[str, str]:
    instance = redis.Instance(stack, "Redis", redis.InstanceProps(
        engine_version="7.0", product_type="Tair_rdb", instance_class="tair.rdb.1g", node_type="MASTER_SLAVE",
        vpc_id=network.vpc, v_switch_id=network.private[0], zone_id=choices.zone_a, secondary_zone_id=choices.zone_b,
        security_group_id=network.store_group, password=choices.redis_password, vpc_password_free=False,
        ssl_enabled="Enable", eviction_policy="allkeys-lru", deletion_protection=True, instance_name="banksight",
    ))  # fmt: skip
    redis.Whitelist(stack, "RedisReaders", redis.WhitelistProps(
        instance_id=text(instance.attr_instance_id), security_ips=",".join(PRIVATE), security_ip_group_name="banksight"
    ))  # fmt: skip
    url = f"rediss://:{choices.redis_password}@{text(instance.attr_connection_domain)}:6379/0?ssl_ca_certs={CA_FILE}"
    return text(instance.attr_instance_id), url


def _bucket(stack: core.Stack, choices: Choices, name: str, key: str) -> str:
    rules = [oss.RosBucket.RuleProperty(
        prefix="", id="abandoned-uploads", status="Enabled",
        abort_multipart_upload=oss.RosBucket.AbortMultipartUploadProperty(days=7),
    )]  # fmt: skip
    # No object ends by its age, not of backups either: a backup of today needs the pieces that one of last year wrote.
    # `banksight backup prune` deletes what no backup of the last 30 days needs.
    bucket = oss.Bucket(stack, f"{name.capitalize()}Bucket", oss.BucketProps(
        bucket_name=f"{choices.prefix}-{name}", access_control="private", block_public_access=True,
        redundancy_type="ZRS", deletion_force=False,
        versioning_configuration=oss.RosBucket.VersioningConfigurationProperty(status="Enabled"),
        server_side_encryption_configuration=oss.RosBucket.ServerSideEncryptionConfigurationProperty(
            sse_algorithm="KMS", kms_master_key_id=key
        ),
        lifecycle_configuration=oss.RosBucket.LifecycleConfigurationProperty(rule=rules),
    ))  # fmt: skip
    bucket.apply_removal_policy(core.RemovalPolicy.RETAIN)
    return text(bucket.attr_name)


def _replicate(stack: core.Stack, choices: Choices, name: str, bucket: str, role: str) -> None:
    types = oss.RosBucketReplication
    rule = types.RuleProperty(
        destination=types.DestinationProperty(
            bucket=f"{choices.dr_prefix}-{name}", location=f"oss-{choices.dr_region}", transfer_type="internal"
        ),
        action="PUT",  # deletions do not travel: what is deleted here by mistake or malice is still there
        historical_object_replication="enabled", sync_role=role,
        encryption_configuration=types.EncryptionConfigurationProperty(replica_kms_key_id=choices.dr_key),
        source_selection_criteria=types.SourceSelectionCriteriaProperty(
            sse_kms_encrypted_objects=types.SseKmsEncryptedObjectsProperty(status="Enabled")
        ),
    )  # fmt: skip
    replication = oss.BucketReplication(stack, f"{name.capitalize()}Replication", oss.BucketReplicationProps(
        bucket_name=bucket, replication_configuration=types.ReplicationConfigurationProperty(rule=rule)
    ))  # fmt: skip
    replication.add_condition(choices.is_primary)


def _weights(stack: core.Stack, choices: Choices, network: Network) -> str:
    system = nas.FileSystem(stack, "Weights", nas.FileSystemProps(
        protocol_type="NFS", storage_type="Performance", file_system_type="standard", encrypt_type=1,
        zone_id=choices.zone_a, description="Model weights, written by `banksight models pull`, read by nodes",
    ))  # fmt: skip
    group = nas.AccessGroup(stack, "WeightsReaders", nas.AccessGroupProps(
        access_group_name="banksight-weights", access_group_type="Vpc"
    ))  # fmt: skip
    for letter, block in zip("AB", PRIVATE, strict=True):
        nas.AccessRule(stack, f"WeightsRule{letter}", nas.AccessRuleProps(
            access_group_name=text(group.attr_access_group_name), source_cidr_ip=block, rw_access_type="RDWR",
            user_access_type="no_squash",
        ))  # fmt: skip
    target = nas.MountTarget(stack, "WeightsMount", nas.MountTargetProps(
        access_group_name=text(group.attr_access_group_name), file_system_id=text(system.attr_file_system_id),
        network_type="Vpc", vpc_id=network.vpc, v_switch_id=network.private[0],
    ))  # fmt: skip
    return text(target.attr_mount_target_domain)


def _registry(stack: core.Stack, network: Network) -> tuple[str, str]:
    registry = cr.Instance(stack, "Registry", cr.InstanceProps(
        instance_name="banksight", instance_type="Basic", image_scanner="ACR"
    ))  # fmt: skip
    registry_id = text(registry.attr_instance_id)
    cr.InstanceVpcEndpointLinkedVpc(stack, "RegistryEndpoint", cr.InstanceVpcEndpointLinkedVpcProps(
        instance_id=registry_id, vpc_id=network.vpc, vswitch_id=network.private[0],
        enable_create_dns_record_in_pvzt=True, module_name="Registry",
    ))  # fmt: skip
    namespace = cr.Namespace(stack, "Images", cr.NamespaceProps(
        namespace="banksight", instance_id=registry_id, auto_create=False, default_visibility="PRIVATE"
    ))  # fmt: skip
    for name in REPOSITORIES:
        cr.Repository(stack, f"{name.capitalize()}Image", cr.RepositoryProps(
            repo_name=f"banksight-{name}", repo_namespace=text(namespace.attr_namespace), repo_type="PRIVATE",
            instance_id=registry_id,
            summary=f"BankSight {name}", tag_immutability=True,
        ))  # fmt: skip
    host = f"banksight-registry-vpc.{text(core.Fn.ref('ALIYUN::Region'))}.cr.aliyuncs.com/banksight"
    return host, registry_id


def snapshot_policy(stack: core.Stack) -> str:
    """Snapshots of Chroma's disk every night, kept for 30 days."""
    policy = ecs.AutoSnapshotPolicy(stack, "NightlySnapshots", ecs.AutoSnapshotPolicyProps(
        repeat_weekdays=[1, 2, 3, 4, 5, 6, 7], time_points=[1], retention_days=30, auto_snapshot_policy_name="banksight"
    ))  # fmt: skip
    return text(policy.attr_auto_snapshot_policy_id)
