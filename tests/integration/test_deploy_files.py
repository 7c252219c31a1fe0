"""What is deployed: compose files and Kubernetes manifests fit their schemas, our settings and the hardening rules."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from rag.proxy.rendering import rendered
from rag.settings import Settings, load_settings

DEPLOY = Path(__file__).parents[2] / "configs" / "deploy"
COMPOSE = DEPLOY / "compose"
OVERRIDES = ("cpu.yaml", "gpu.yaml", "monitoring.yaml", "backup.yaml")
KUBERNETES = "1.31"
WORKLOADS = ("Deployment", "StatefulSet")
PODS = (*WORKLOADS, "CronJob")


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def _stack(*overrides: str) -> dict[str, dict[str, Any]]:
    """The services as compose merges them, as far as our files need it: environments are merged, the rest replaced."""
    services: dict[str, dict[str, Any]] = _read(COMPOSE / "compose.yaml")["services"]
    for override in overrides:
        for name, more in _read(COMPOSE / override)["services"].items():
            known = services.get(name, {})
            merged = {**known, **more}
            if "environment" in known:
                merged["environment"] = known["environment"] | more.get("environment", {})
            services[name] = merged
    return services


def _objects() -> list[dict[str, Any]]:
    return [
        each
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def _of_kind(*kinds: str) -> list[Any]:
    return [pytest.param(each, id=each["metadata"]["name"]) for each in _objects() if each["kind"] in kinds]


def _template(workload: Mapping[str, Any]) -> dict[str, Any]:
    spec = workload["spec"]["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else workload["spec"]
    template: dict[str, Any] = spec["template"]
    return template


# --- Compose -----------------------------------------------------------------------------------------------------


def _against_schema(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_compose_files_fit_the_schema_of_compose() -> None:
    checked = _against_schema(*(COMPOSE / name for name in ("compose.yaml", *OVERRIDES)))
    assert checked.returncode == 0, checked.stdout


def test_misspelt_key_does_not_fit_the_schema_of_compose(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(
        (COMPOSE / "compose.yaml").read_text(encoding="utf-8").replace("read_only: true", "readonly: true")
    )
    assert _against_schema(wrong).returncode == 1


SERVICES = [
    pytest.param(service, id=name)
    for name, service in sorted(_stack("gpu.yaml", "monitoring.yaml", "backup.yaml").items())
]


@pytest.mark.parametrize("service", SERVICES)
def test_service_cannot_change_its_image_or_gain_rights(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service


@pytest.mark.parametrize("service", [each for each in SERVICES if each.id != "weights"])  # that one ends by itself
def test_service_that_runs_on_has_limits_and_says_whether_it_is_well(service: dict[str, Any]) -> None:
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    dockerfile = re.fullmatch(r"\$\{([A-Z]+)_IMAGE.*", service["image"])
    ours = dockerfile and DEPLOY / "images" / f"{dockerfile[1].lower()}.Dockerfile"
    in_image = ours and ours.is_file() and "\nHEALTHCHECK " in ours.read_text(encoding="utf-8")
    assert "healthcheck" in service or in_image or "collector" in service["image"]


@pytest.mark.parametrize("service", SERVICES)
def test_image_is_named_by_whoever_deploys_or_pinned(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\$\{[A-Z]+_IMAGE(:\?[^}]+|:-[\w./-]+:v?\d+\.\d+\.?\d*[\w.-]*)?\}", service["image"])


@pytest.mark.proves("PCI DSS 8.6.2")
@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_stands_in_an_environment(service: dict[str, Any]) -> None:
    for name, value in service.get("environment", {}).items():
        if re.search("PASSWORD|SECRET|TOKEN|PEPPER|DATABASE_URL|REDIS_URL", name):
            assert name.endswith("_FILE"), name
            assert value.startswith("/run/secrets/")


@pytest.mark.proves("SOC 2 CC6.6", "ISO A.8.20")
def test_only_the_proxy_listens_to_other_machines() -> None:
    ports = {name: service["ports"] for name, service in _stack(*OVERRIDES).items() if "ports" in service}
    assert ports.pop("proxy") == ["${PUBLISH_HTTPS:-443}:443", "${PUBLISH_HTTP:-80}:80"]
    assert all(port.startswith("127.0.0.1:") for each in ports.values() for port in each)


def test_stores_and_nodes_reach_no_network_but_the_inner_one() -> None:
    assert _read(COMPOSE / "compose.yaml")["networks"]["inside"]["internal"] is True
    inner = ("backend", "worker", "ui", "chroma", "redis", "postgres")
    assert [name for name in inner if _stack(*OVERRIDES)[name]["networks"] != ["inside"]] == []


def test_every_secret_and_volume_is_declared() -> None:
    files = [_read(COMPOSE / name) for name in ("compose.yaml", *OVERRIDES)]
    declared = {kind: {key for file in files for key in file.get(kind, {})} for kind in ("secrets", "volumes")}
    for service in _stack(*OVERRIDES).values():
        assert set(service.get("secrets", ())) <= declared["secrets"]
        assert {*_named_volumes(service)} <= declared["volumes"]


def _named_volumes(service: dict[str, Any]) -> Iterator[str]:
    for volume in service.get("volumes", ()):
        if isinstance(volume, dict):
            if volume["type"] == "volume":
                yield volume["source"]
        elif ":" in volume and volume[0] not in "./":
            yield volume.partition(":")[0]


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What `secrets.sh` makes, in a copy of the folder."""
    shutil.copy(COMPOSE / "secrets.sh", tmp_path)
    made = subprocess.run([tmp_path / "secrets.sh"], capture_output=True, text=True, check=True, timeout=30)
    assert "tls_certificate.pem" in made.stderr
    return tmp_path / "secrets"


def test_secrets_are_made_once_and_hidden(secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    subprocess.run([secrets.parent / "secrets.sh"], capture_output=True, check=True, timeout=30)
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o077 == 0
    assert len(set(before.values())) == len(before)


def _environment(service: dict[str, Any], secrets: Path) -> dict[str, str]:
    """Its variables, those of `.env` replaced by their default or by a host name."""

    def replaced(match: re.Match[str]) -> str:
        return match[2] if match[1] == "-" else "api.bank.example"

    return {
        name: re.sub(r"\$\{\w+(?::([?-])([^}]*))?\}", replaced, str(value)).replace("/run/secrets", str(secrets))
        for name, value in service["environment"].items()
    }


def _settings(service: dict[str, Any], secrets: Path) -> Settings:
    return load_settings("production", environment=_environment(service, secrets))


@pytest.mark.parametrize("overrides", [("cpu.yaml",), ("gpu.yaml", "monitoring.yaml")])
def test_settings_of_a_node_are_known_and_complete(overrides: tuple[str, ...], secrets: Path) -> None:
    stack = _stack(*overrides)
    node, worker = (_settings(stack[name], secrets) for name in ("backend", "worker"))
    assert node.storage == worker.storage
    assert node.sources == worker.sources
    assert node.ingestion.serving == worker.ingestion.serving == "worker"
    assert node.server.workers == 2
    assert node.generation.engine == ("extractive" if "cpu.yaml" in overrides else "mistral")
    password = (secrets / "postgres_password").read_text(encoding="utf-8")
    assert password in node.database_url


def test_worker_starts_before_nodes_and_all_write_originals_and_uploads_to_one_volume() -> None:
    stack = _stack(*OVERRIDES)
    assert stack["worker"]["command"][0] == "worker.sh"
    assert "worker" in stack["backend"]["depends_on"]
    for name in ("backend", "worker"):
        assert stack[name]["environment"]["FILES_DIR"] == "/files"
        assert "files:/files" in stack[name]["volumes"]  # not read-only: nodes store uploads
    assert stack["worker"]["deploy"].get("replicas", 1) == 1


def test_proxy_knows_its_nodes(secrets: Path, tmp_path: Path) -> None:
    for name in ("tls_certificate.pem", "tls_certificate_key.pem"):
        (secrets / name.removesuffix(".pem")).write_text("certificate", encoding="utf-8")
    configs = tmp_path / "configs"
    configs.mkdir()
    shutil.copy(DEPLOY.parent / "base.yaml", configs)
    shutil.copy(DEPLOY / "images" / "proxy.yaml", configs)
    environment = {
        name: str(value).replace("/run/secrets", str(secrets))
        for name, value in _stack()["proxy"]["environment"].items()
    } | {"BANKSIGHT__PROXY__API_HOST": "api.bank.example", "BANKSIGHT__PROXY__UI_HOST": "chat.bank.example"}
    settings = load_settings("proxy", config_dir=configs, environment=environment)
    assert settings.proxy.api_nodes == ("backend:3000",)
    assert "/dev/stdout" in rendered(settings, tmp_path, [], [], [])["nginx.conf"]


# --- Kubernetes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", [pytest.param(e, id=f"{e['kind']}-{e['metadata']['name']}") for e in _objects()])
def test_manifest_fits_the_schema_of_kubernetes(found: dict[str, Any]) -> None:
    try:
        kubernetes_validate.validate(found, KUBERNETES, strict=True)
        objection = ""
    except kubernetes_validate.ValidationError as error:
        objection = str(error)
    assert objection == ""


def test_misspelt_field_does_not_fit_the_schema_of_kubernetes() -> None:
    (backend,) = (e for e in _objects() if e["kind"] == "Deployment" and e["metadata"]["name"] == "backend")
    _template(backend)["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(backend, KUBERNETES, strict=True)


@pytest.mark.parametrize("workload", _of_kind(*PODS))
def test_pod_is_nobody_and_can_change_nothing(workload: dict[str, Any]) -> None:
    pod = _template(workload)["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert re.search(r"@sha256:[0-9a-f]{64}$", container["image"])


@pytest.mark.parametrize("workload", _of_kind(*WORKLOADS))
def test_pod_that_serves_is_probed(workload: dict[str, Any]) -> None:
    for container in _template(workload)["spec"]["containers"]:
        assert {"readinessProbe", "livenessProbe"} <= set(container)


def test_selectors_find_pods() -> None:
    labels = {name: _template(each)["metadata"]["labels"] for name, each in _workloads().items()}
    for each in _objects():
        selector = (
            each.get("spec", {}).get("selector") if each["kind"] != "NetworkPolicy" else each["spec"]["podSelector"]
        )
        if selector:
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= found.items() for found in labels.values()), each["metadata"]


def _workloads() -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in _objects() if each["kind"] in PODS}


def test_claims_and_scaled_deployments_exist() -> None:
    claims = {each["metadata"]["name"] for each in _objects() if each["kind"] == "PersistentVolumeClaim"}
    for workload in _workloads().values():
        for volume in _template(workload)["spec"]["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] in claims
    (scaler,) = (each["spec"] for each in _objects() if each["kind"] == "HorizontalPodAutoscaler")
    assert scaler["scaleTargetRef"]["name"] in _workloads()
    assert (
        "replicas" not in _workloads()[scaler["scaleTargetRef"]["name"]]["spec"]
    )  # or each apply would undo the scaling


def test_one_worker_and_all_nodes_write_originals_and_uploads_to_one_volume() -> None:
    (data,) = (each["data"] for each in _objects() if each["kind"] == "ConfigMap")
    assert _workloads()["worker"]["spec"]["replicas"] == 1
    for name in ("backend", "worker"):
        pod = _template(_workloads()[name])["spec"]
        assert {"name": "files", "persistentVolumeClaim": {"claimName": "files"}} in pod["volumes"]
        assert {"name": "files", "mountPath": data["FILES_DIR"]} in pod["containers"][0]["volumeMounts"]


@pytest.mark.proves("SOC 2 CC6.7", "ISO A.8.20")
def test_nobody_speaks_to_anybody_unless_allowed() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in _objects() if each["kind"] == "NetworkPolicy"}
    assert policies["default"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    from_anywhere = [
        name for name, spec in policies.items() if any("from" not in rule for rule in spec.get("ingress", ()))
    ]
    assert from_anywhere == ["proxy"]


def test_settings_of_kubernetes_are_known_and_complete() -> None:
    (data,) = (each["data"] for each in _objects() if each["kind"] == "ConfigMap")
    secret = {
        "DATABASE_URL": "postgresql+psycopg://banksight:9f2c@db/banksight",
        "REDIS_URL": "redis://:9f2c@redis:6379/0",
        "CACHE_SECRET": os.urandom(32).hex(),
        "KEY_PEPPER": os.urandom(32).hex(),
    }
    settings = load_settings("production", environment=data | secret)
    assert settings.ingestion.serving == "worker"
    assert settings.server.workers == 2
    assert settings.proxy.api_nodes == ("backend:3000",)
