"""Who may do what: one key, the secrets, and a role for each kind of machine. Every action stands beside its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ros_cdk_core as core
import ros_cdk_kms as kms
import ros_cdk_ram as ram

from stack.network import text
from stack.parameters import Choices

SECRETS = {"database-url": "database", "redis-url": "redis", "cache-secret": "cache", "key-pepper": "pepper"}
OF_BACKUPS = {"backup-password": "backup"}  # no node needs it
_REGION_ACCOUNT = f"{text(core.Fn.ref('ALIYUN::Region'))}:{text(core.Fn.ref('ALIYUN::AccountId'))}"
_FETCH_SECRETS = {
    "kms:GetSecretValue": "at its start a machine writes its secrets to files in memory",
    "kms:Decrypt": "the secrets are encrypted with our key",
}
_PULL = {
    "cr:GetAuthorizationToken": "a login to the registry that ends within the hour",
    "cr:PullRepository": "to fetch the images that the stack names by digest",
}
# role -> resource -> action -> why. "secrets", "key", "images" and the buckets become names of resources below.
GRANTS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "node": {
        "secrets": {"kms:GetSecretValue": _FETCH_SECRETS["kms:GetSecretValue"]},
        "key": {"kms:Decrypt": _FETCH_SECRETS["kms:Decrypt"]},
        "registry": {"cr:GetAuthorizationToken": _PULL["cr:GetAuthorizationToken"]},
        "images": {"cr:PullRepository": _PULL["cr:PullRepository"]},
        "models": {
            "oss:GetObject": "the certificate of who signs the stores' certificates",
        },
        "metrics": {"cms:PutCustomMetric": "the 95th percentile of answers, by which the group grows"},
    },
    "chroma": {
        "secrets": {"kms:GetSecretValue": "ingestion and backups on this machine need the database"},
        "backup secret": {"kms:GetSecretValue": "backups are encrypted before they leave this machine"},
        "key": {"kms:Decrypt": "objects in the buckets are encrypted with our key",
                "kms:GenerateDataKey": "to write encrypted backups"},
        "registry": {"cr:GetAuthorizationToken": _PULL["cr:GetAuthorizationToken"]},
        "images": {"cr:PullRepository": _PULL["cr:PullRepository"]},
        "models": {"oss:GetObject": "the certificate of who signs the stores' certificates"},
        "documents": {
            "oss:GetObject": "ingestion reads the sources on this machine",
            "oss:ListObjects": "... and sees which of them are new",
        },
        "backups": {
            "oss:PutObject": "nightly backups",
            "oss:GetObject": "to verify and to restore",
            "oss:ListObjects": "to list backups",
            "oss:DeleteObject": "locks, and what only backups older than 30 days need; its versions stay, which nobody "
            "here may delete",
        },
    },
    "replication": {
        "documents": {
            "oss:ReplicateList": "to compare the bucket with its copy",
            "oss:ReplicateGet": "to read what is copied",
        },
        "backups": {
            "oss:ReplicateList": "to compare the bucket with its copy",
            "oss:ReplicateGet": "to read what is copied",
        },
        "copies": {"oss:ReplicatePut": "to write the copies; never to delete them"},
        "key": {"kms:Decrypt": "to read encrypted objects"},
        "copies' key": {"kms:GenerateDataKey": "to encrypt their copies with the key of the other region"},
    },
}  # fmt: skip
_PRINCIPALS = {"node": "ecs.aliyuncs.com", "chroma": "ecs.aliyuncs.com", "replication": "oss.aliyuncs.com"}


@dataclass(frozen=True)
class Permissions:
    """Names of the roles, and the key that encrypts."""

    key: str
    node_role: str
    chroma_role: str
    replication_role: str


def build_key(stack: core.Stack, choices: Choices) -> str:
    """A key that is made anew every year and cannot be deleted by mistake."""
    key = kms.Key(stack, "Key", kms.KeyProps(
        key_spec="Aliyun_AES_256", key_usage="ENCRYPT/DECRYPT", enable_automatic_rotation=True,
        rotation_interval="365d",
        deletion_protection=True, pending_window_in_days=30, dkms_instance_id=choices.kms_instance,
        description="BankSight: secrets, disks, buckets, database",
    ))  # fmt: skip
    key.apply_removal_policy(core.RemovalPolicy.RETAIN)
    return text(key.attr_key_id)


def build_permissions(stack: core.Stack, choices: Choices, key: str) -> Permissions:
    """The three roles."""
    names = {role: _role(stack, choices, role, key) for role in GRANTS}
    return Permissions(key, names["node"], names["chroma"], names["replication"])


def build_secrets(stack: core.Stack, choices: Choices, key: str, urls: tuple[str, str]) -> list[core.Resource]:
    """The secrets that machines fetch, as `banksight/<name>`; `urls` of database and Redis have passwords."""
    values = (*urls, choices.cache_secret, choices.key_pepper, choices.backup_password)
    return [
        kms.Secret(stack, f"Stored{short.capitalize()}", kms.SecretProps(
            secret_name=f"banksight/{name}", secret_data=value, version_id="1", encryption_key_id=key,
            dkms_instance_id=choices.kms_instance, recovery_window_in_days=30,
        ))
        for (name, short), value in zip((SECRETS | OF_BACKUPS).items(), values, strict=True)
    ]  # fmt: skip


def _resources(choices: Choices, key: str) -> dict[str, list[str]]:
    def bucket(prefix: str, name: str) -> list[str]:
        return [f"acs:oss:*:*:{prefix}-{name}", f"acs:oss:*:*:{prefix}-{name}/*"]

    return {
        "secrets": [f"acs:kms:{_REGION_ACCOUNT}:secret/banksight/{name}" for name in SECRETS],
        "backup secret": [f"acs:kms:{_REGION_ACCOUNT}:secret/banksight/{name}" for name in OF_BACKUPS],
        "key": [f"acs:kms:{_REGION_ACCOUNT}:key/{key}"],
        "copies' key": [f"acs:kms:{choices.dr_region}:{text(core.Fn.ref('ALIYUN::AccountId'))}:key/{choices.dr_key}"],
        "registry": ["*"],  # the action knows no narrower resource
        "images": [f"acs:cr:{_REGION_ACCOUNT}:repository/*/banksight/*"],
        "metrics": ["*"],  # the action knows no narrower resource
        "copies": bucket(choices.dr_prefix, "documents") + bucket(choices.dr_prefix, "backups"),
        **{name: bucket(choices.prefix, name) for name in ("models", "documents", "backups")},
    }


def _role(stack: core.Stack, choices: Choices, role: str, key: str) -> str:
    resources = _resources(choices, key)
    types = ram.RosRole
    document = types.PolicyDocumentProperty(version="1", statement=[
        types.PolicyDocumentStatementProperty(effect="Allow", action=sorted(actions), resource=resources[resource])
        for resource, actions in GRANTS[role].items()
    ])  # fmt: skip
    trust = types.AssumeRolePolicyDocumentProperty(version="1", statement=[types.StatementProperty(
        effect="Allow", action="sts:AssumeRole", principal=types.PrincipalProperty(service=[_PRINCIPALS[role]])
    )])  # fmt: skip
    made = ram.Role(stack, f"{role.capitalize()}Role", ram.RoleProps(
        role_name=f"banksight-{role}-{text(core.Fn.ref('ALIYUN::Region'))}", assume_role_policy_document=trust,
        policies=[types.PoliciesProperty(
            policy_name=f"banksight-{role}-{text(core.Fn.ref('ALIYUN::Region'))}", policy_document=document,
        )],
    ))  # fmt: skip
    return text(made.attr_role_name)
