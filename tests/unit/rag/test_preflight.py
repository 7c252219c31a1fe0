"""`banksight preflight` on what it reads from files: every fault is named with what to do, and nothing is changed."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rag.errors import ConfigurationError
from rag.operations import preflight_machine as machine
from rag.operations.accelerator import Machine
from rag.operations.findings import Finding
from rag.operations.preflight import Look, Part, Plan, inspect
from rag.operations.preflight_certificate import look_at_certificate
from rag.operations.preflight_secrets import look_at_secret_files, look_at_secrets, look_at_settings
from rag.settings import Settings

SECRET = "6f1c0b7de2a94835b1f07c2d9e8a4463"
API, UI = "api.bank.eu", "chat.bank.eu"
Settle = Callable[..., Settings]
See = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def see(make_settings: Settle) -> See:
    """`see(look, part, **overrides)`: verdict and text of each finding of one look."""

    def call(
        look: Look, part: Part = "all", environment: Mapping[str, str] | None = None, **overrides: Any
    ) -> list[tuple[str, str]]:
        plan = Plan(make_settings(**overrides), environment or {}, part)
        return [(finding.verdict, finding.text) for finding in look(plan)]

    return call


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`certificate(names, days)`: the proxy's settings for one that is valid from yesterday for so many days."""

    def make(names: tuple[str, ...] = (API, UI), days: float = 90, began: float = -1) -> dict[str, Any]:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bank")])
        built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        built = built.not_valid_before(now + timedelta(days=began)).not_valid_after(now + timedelta(days=days))
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False)
        (tmp_path / "tls.pem").write_bytes(built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        (tmp_path / "tls.key").write_bytes(pem(key))
        places = {"certificate": str(tmp_path / "tls.pem"), "certificate_key": str(tmp_path / "tls.key")}
        return {"api_host": API, "ui_host": UI, **places}

    return make


def pem(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


def test_a_certificate_for_both_names_is_well_and_so_is_one_with_a_star(see: See, certificate: Any) -> None:
    assert [verdict for verdict, _ in see(look_at_certificate, proxy=certificate())] == ["ok"]
    assert [verdict for verdict, _ in see(look_at_certificate, proxy=certificate(("*.bank.eu",)))] == ["ok"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"days": -0.1}, "it ended on"),
        ({"began": 2}, "this machine's clock"),
        ({"names": (API,)}, f"not for {UI}"),
        ({"names": ("*.eu",)}, f"not for {API}"),
    ],
)
def test_a_certificate_that_callers_would_refuse_is_wrong(
    fault: dict[str, Any], said: str, see: See, certificate: Any
) -> None:
    found = see(look_at_certificate, proxy=certificate(**fault))
    assert found
    assert {verdict for verdict, _ in found} == {"wrong"}
    assert said in found[0][1]


def test_a_certificate_that_ends_soon_is_a_note_with_the_day(see: See, certificate: Any) -> None:
    (verdict, text), _ = see(look_at_certificate, proxy=certificate(days=5.5))
    assert (verdict, "ends in 5 days" in text) == ("note", True)


def test_a_key_of_another_certificate_and_one_with_a_password_are_wrong(see: See, certificate: Any) -> None:
    proxy = certificate()
    key = Path(proxy["certificate_key"])
    key.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    assert "is the key of another certificate" in see(look_at_certificate, proxy=proxy)[0][1]
    key.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()), b"a password"))
    with pytest.raises(ConfigurationError, match="password"):
        see(look_at_certificate, proxy=proxy)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({"cache": {"secret": ""}}, "CACHE_SECRET is empty"),
        ({"identity": {"keys": {"pepper": "changeme-changeme-changeme-changeme"}}}, "KEY_PEPPER is a placeholder"),
        ({"identity": {"keys": {"pepper": ""}}}, "KEY_PEPPER is empty"),
        ({"storage": {"database_url": "postgresql://banksight@db.bank.eu/banksight"}}, "DATABASE_URL has no password"),
        ({"storage": {"database_url": "postgresql://b:password1@db.bank.eu/b"}}, "DATABASE_URL has a password that"),
        ({"redis": {"url": "redis://:aaaaaaaaaaaaaaaaaaaa@r.bank.eu:6379/0"}}, "REDIS_URL has a password that"),
    ],
)
def test_missing_and_made_up_secrets_are_wrong_and_never_shown(overrides: Any, name: str, see: See) -> None:
    found = see(look_at_secrets, **merged(production(), overrides))
    assert [text.startswith(name) for verdict, text in found if verdict == "wrong"] == [True]
    assert not any("changeme" in text or "password1" in text or "aaaa" in text for _, text in found)


def production() -> dict[str, Any]:
    return {
        "identity": {"mode": "api_key", "keys": {"pepper": SECRET}}, "cache": {"secret": SECRET},
        "server": {"workers": 2}, "ingestion": {"serving": "worker"},
        "storage": {"chroma": "server", "database_url": f"postgresql://b:{SECRET}@db.bank.eu/b"},
        "redis": {"url": f"redis://:{SECRET}@r.bank.eu:6379/0"},
    }  # fmt: skip


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {**one.get(key, {}), **other[key]} if key in other else one[key] for key in {**one, **other}
    }  # fmt: skip


def test_random_secrets_are_well(see: See) -> None:
    assert "wrong" not in {verdict for verdict, _ in see(look_at_secrets, **production())}


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="banksight-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_secret_that_everybody_may_read_is_wrong_until_it_or_its_folder_is_closed(
    see: See, public_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.operations.preflight_secrets._CONTAINER_MARKS", ())
    secret = public_folder / "pepper"
    secret.write_text(SECRET)
    for file_mode, folder_mode, verdict in ((0o644, 0o755, "wrong"), (0o600, 0o755, "ok"), (0o644, 0o700, "ok")):
        secret.chmod(file_mode)
        public_folder.chmod(folder_mode)
        found = see(look_at_secret_files, environment={"KEY_PEPPER_FILE": str(secret)})
        assert [each for each, _ in found] == [verdict]


def test_in_a_container_a_readable_secret_is_only_a_note(see: See, public_folder: Path) -> None:
    secret = public_folder / "pepper"
    secret.write_text(SECRET)
    environment = {"KEY_PEPPER_FILE": str(secret), "KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert [verdict for verdict, _ in see(look_at_secret_files, environment=environment)] == ["note"]


def test_settings_of_a_laptop_and_names_of_examples_are_wrong(see: See) -> None:
    texts = [text for verdict, text in see(look_at_settings) if verdict == "wrong"]
    assert [text.split(" ")[0] for text in texts] == [
        "DATABASE_URL", "nobody", "server.allowed_hosts", "api.banksight.local", "chat.banksight.local",
    ]  # fmt: skip


def test_people_to_call_are_shown_and_missed(see: See) -> None:
    assert any("nobody is named for data protection, on call, security" in text for _, text in see(look_at_settings))
    named = {"on_call": "+49 1", "security": "soc@bank.eu", "data_protection": "dpo@bank.eu"}
    assert any("on call: +49 1; security: soc@bank.eu" in text for _, text in see(look_at_settings, operators=named))


@pytest.mark.network_allowed
def test_a_taken_port_is_named_and_a_free_one_is_not(see: See, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = see(machine.look_at_ports, "node", server={"port": port, "ui_port": free_port})
    assert [(verdict, text.split(" ")[0]) for verdict, text in found] == [("wrong", str(port))]
    assert see(machine.look_at_ports, "node", server={"port": port, "ui_port": free_port})[0][0] == "ok"


def test_a_full_disk_too_little_memory_and_an_empty_source_are_wrong(see: See, tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    source = {"name": "papers", "root": str(tmp_path / "mount")}
    huge = {"disk_gib": 10**9, "process_mib": 10**9}
    assert all(verdict == "wrong" for verdict, text in see(machine.look_at_disk, preflight=huge) if "FILES" not in text)
    assert see(machine.look_at_memory, preflight=huge)[0][0] == "wrong"
    assert "a mount may be missing" in see(machine.look_at_sources, sources=[source])[0][1]


def test_a_folder_is_not_made_to_see_whether_it_could_be(see: See, settings: Settings) -> None:
    see(machine.look_at_disk)
    assert not settings.data_dir.exists()


def test_a_node_without_weights_and_card_is_wrong_and_a_worker_needs_neither(
    see: See, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no-hub-cache"))
    monkeypatch.setattr(machine, "this_machine", lambda: Machine((), None, "2.13.0+cpu", None, (), None))
    generation = {"engine": "mistral", "serving": "service"}
    found = see(machine.look_at_model, "node", generation=generation)
    assert [verdict for verdict, _ in found] == ["wrong", "wrong"]
    assert "banksight models pull" in found[0][1]
    assert see(machine.look_at_model, "worker", generation=generation) == []


def test_all_variables_that_are_missing_are_named_at_once() -> None:
    found = list(inspect("production", {"REDIS_URL": "redis://localhost"}, "all", hash_model=False))
    assert [finding.verdict for finding in found] == ["wrong"] * 3
    assert [finding.text.split(" ")[0] for finding in found] == ["CACHE_SECRET", "DATABASE_URL", "VECTOR_DB_HOST"]


def test_a_secret_file_that_is_not_there_is_named() -> None:
    (found,) = inspect("production", {"CACHE_SECRET_FILE": "/nowhere"}, "all", hash_model=False)
    assert found == Finding("configuration", "wrong", found.text)
    assert "CACHE_SECRET_FILE names /nowhere" in found.text
