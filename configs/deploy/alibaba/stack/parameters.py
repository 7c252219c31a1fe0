"""What a deployer chooses: sizes, names, secrets, and whether this is the primary or the standby region."""

from __future__ import annotations

from typing import Any

import ros_cdk_core as core

# Vertical scaling. Memory of a card bounds the slots: 4 GiB of weights in 4 bit, and 0.5 GiB for each question that is
# written (configs/base.yaml, generation.mistral.slots). Types as in the published tables; docs/alibaba.md has them.
SIZES: dict[str, dict[str, str]] = {
    "v100-16": {"Type": "ecs.gn6v-c8g1.2xlarge", "Engine": "mistral", "Slots": "8", "Admitted": "10", "Gpus": "all"},
    "t4-16": {"Type": "ecs.gn6i-c8g1.2xlarge", "Engine": "mistral", "Slots": "8", "Admitted": "10", "Gpus": "all"},
    "t4-16-large": {
        "Type": "ecs.gn6i-c16g1.4xlarge",
        "Engine": "mistral",
        "Slots": "8",
        "Admitted": "10",
        "Gpus": "all",
    },
    "v100-32": {"Type": "ecs.gn6e-c12g1.3xlarge", "Engine": "mistral", "Slots": "24", "Admitted": "30", "Gpus": "all"},
    "cpu": {"Type": "ecs.g6.2xlarge", "Engine": "extractive", "Slots": "8", "Admitted": "10", "Gpus": "none"},
    "cpu-large": {"Type": "ecs.g6.4xlarge", "Engine": "extractive", "Slots": "8", "Admitted": "10", "Gpus": "none"},
}
_FOR_STORES = "^[A-Za-z0-9_-]{16,32}$"  # goes into a URL unescaped, and into what Tair and ApsaraDB accept
_DIGEST = "^sha256:[0-9a-f]{64}$"
_HOST = r"^[a-z0-9-]+(\.[a-z0-9-]+)+$"


class Choices:
    """The template's parameters, as texts and numbers to be put into properties."""

    def __init__(self, stack: core.Stack) -> None:
        self._stack = stack
        self.site = self._text(
            "Site", "primary answers; standby holds replicas and waits", "primary", ["primary", "standby"]
        )
        self.size = self._text("NodeSize", "GPU or processor of a node", "v100-16", list(SIZES))
        self.min_nodes = self._number("MinNodes", "Fewest nodes; 0 in a standby region until it takes over", 2, 0)
        self.desired_nodes = self._number("DesiredNodes", "Nodes at the start", 3, 0)
        self.max_nodes = self._number("MaxNodes", "Most nodes", 10, 1)
        self.image = self._text("NodeImageId", "ECS image with driver 550, Docker, aliyun CLI and CloudMonitor agent")
        self.zone_a = self._text("ZoneA", "First zone, as eu-central-1a")
        self.zone_b = self._text("ZoneB", "Second zone, as eu-central-1b")
        self.prefix = self._text("BucketPrefix", "Starts the names of the buckets, which are unique in the world")
        self.dr_region = self._text("DrRegion", "Region that gets copies of documents and backups, as eu-west-1")
        self.dr_prefix = self._text("DrBucketPrefix", "BucketPrefix of the stack there")
        self.dr_key = self._text("DrKeyId", "Output KeyId of the stack there: encrypts the copies")
        self.api_host = self._text("ApiHost", "Name of the API", pattern=_HOST)
        self.chat_host = self._text("ChatHost", "Name of the chat", pattern=_HOST)
        self.static_host = self._text("StaticHost", "Name for the CDN; empty: no CDN", "")
        self.certificate = self._text("CertificateId", "Certificate for those names, in Certificate Management Service")
        self.backend_digest = self._text("BackendDigest", "Image of the backend", pattern=_DIGEST)
        self.worker_digest = self._text("WorkerDigest", "Image of the backend, target cpu", pattern=_DIGEST)
        self.ui_digest = self._text("UiDigest", "Image of the chat", pattern=_DIGEST)
        self.chroma_digest = self._text("ChromaDigest", "Image of the Chroma server", pattern=_DIGEST)
        self.kms_instance = self._text("KmsInstanceId", "KMS instance that holds key and secrets")
        self.gtm_instance = self._text("GtmInstanceId", "Global Traffic Manager instance; empty: no failover", "")
        self.standby_address = self._text("StandbyAddress", "Output LoadBalancerName of the standby stack", "")
        self.operators_mail = self._text("OperatorsMail", "Who gets the alarms")
        self.database_password = self._secret("DatabasePassword")
        self.redis_password = self._secret("RedisPassword")
        self.cache_secret = self._secret("CacheSecret", "^[0-9a-f]{64}$")
        self.key_pepper = self._secret("KeyPepper", "^[A-Za-z0-9_-]{32,64}$")
        self.backup_password = self._secret("BackupPassword", "^[A-Za-z0-9_-]{32,64}$")
        self.sizes = core.RosMapping(stack, "Sizes", mapping=SIZES)
        self.is_primary = self._condition("IsPrimary", core.Fn.condition_equals(self.site, "primary"))
        self.has_cdn = self._condition("HasCdn", core.Fn.condition_not(core.Fn.condition_equals(self.static_host, "")))
        self.has_failover = self._condition(
            "HasFailover", core.Fn.condition_not(core.Fn.condition_equals(self.gtm_instance, ""))
        )

    def of_size(self, column: str) -> Any:
        """The column of the chosen row of `SIZES`."""
        return core.Fn.find_in_map("Sizes", self.size, column)

    def _text(
        self,
        name: str,
        description: str,
        default: str | None = None,
        allowed: list[str] | None = None,
        pattern: str | None = None,
    ) -> str:
        return core.RosParameter(
            self._stack, name, type=core.RosParameterType.STRING, description=description, default_value=default,
            allowed_values=allowed, allowed_pattern=pattern,
        ).value_as_string  # fmt: skip

    def _number(self, name: str, description: str, default: int, least: int) -> Any:
        return core.RosParameter(
            self._stack, name, type=core.RosParameterType.NUMBER, description=description, default_value=default,
            min_value=least, max_value=50,
        ).value  # fmt: skip

    def _secret(self, name: str, pattern: str = _FOR_STORES) -> str:
        return core.RosParameter(
            self._stack, name, type=core.RosParameterType.STRING, description="A secret; never shown again",
            allowed_pattern=pattern, no_echo=True, confirm=True,
        ).value_as_string  # fmt: skip

    def _condition(self, name: str, expression: Any) -> core.RosCondition:
        return core.RosCondition(self._stack, name, expression=expression)
