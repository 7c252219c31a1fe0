"""`banksight serve`: starts, says what is wrong in one sentence, and ends cleanly."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from bentos.commands import require_protected_and_free
from bentos.principals import refuse_unprotected
from rag.errors import ConfigurationError
from rag.settings import Settings, load_settings

SERVE = ("-m", "rag.cli", "serve", "--port", "{port}")


def _settings(**server: Any) -> Settings:
    return load_settings("test", environment={}, overrides={"server": server})


def test_served_api_answers_and_ctrl_c_ends_all_of_it(
    start_server: Callable[..., Any], make_service_settings: Callable[..., Settings]
) -> None:
    server = start_server(make_service_settings(), *SERVE, BENTOML_HOME="")
    server.wait_until_ready()
    children = psutil.Process(server.process.pid).children(recursive=True)
    own = next((server.settings.data_dir / "starts").glob("*/"))
    assert any((own / "prometheus_multiproc_dir").iterdir())  # a second start must not empty the metrics of this one
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(60) == 0
    assert not psutil.wait_procs(children, 10)[1]
    assert "Traceback" not in server.log.read_text()
    assert not list((server.settings.data_dir / "starts").iterdir())


def test_command_line_finds_the_running_service(server: Any, tmp_path: Path, start_server: Callable[..., Any]) -> None:
    environment = server.environment
    asked = subprocess.run(
        [sys.executable, "-m", "rag.cli", "documents", "list"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert "lectronic" in asked.stdout


def test_a_backup_is_made_while_the_service_runs(server: Any, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse battery staple")
    places = {"BACKUP_REPOSITORY": str(tmp_path / "backups"), "BACKUP_PASSWORD_FILE": str(tmp_path / "password")}
    shell = {name: value for name, value in server.environment.items() if not name.startswith("PROMETHEUS")}
    made = subprocess.run(
        [sys.executable, "-m", "rag.cli", "backup", "create", "--json"],
        env=shell | places, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    facts = json.loads(made.stdout)["proof"]["facts"]
    assert facts["documents"] == len(httpx.get(f"{server.url}/v1/documents").json()["documents"]) + 1  # the board's
    assert not (server.settings.data_dir / "backup" / "snapshot").exists()


def test_data_folder_in_use_ends_the_service_with_one_sentence(server: Any, start_server: Callable[..., Any]) -> None:
    second = start_server(server.settings, *SERVE)
    assert second.process.wait(120) == 3
    last = second.log.read_text().strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert "is in use by the BankSight that serves http" in last


def test_taken_port_is_one_sentence_and_exit_code_3(server: Any) -> None:
    port = server.url.rsplit(":", 1)[1]
    refused = subprocess.run(
        [sys.executable, "-m", "rag.cli", "serve", "--port", port],
        env=server.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert refused.returncode == 3
    assert f"port {port} on 127.0.0.1 cannot be used" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_data_folder_that_cannot_be_written_is_one_sentence_and_exit_code_3(
    server: Any, tmp_path: Path, free_port: int
) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("a file where the folder should be", encoding="utf-8")
    refused = subprocess.run(
        [sys.executable, "-m", "rag.cli", "serve", "--port", str(free_port)],
        env=server.environment | {"BANKSIGHT_DATA_DIR": str(occupied)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert refused.returncode == 3
    assert len(refused.stderr.strip().splitlines()) == 1


def test_free_port_is_accepted_and_left_free(free_port: int) -> None:
    require_protected_and_free(_settings(port=free_port))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port))
        assert probe.getsockname()[1] == free_port


def test_port_that_is_lost_after_the_check_is_one_sentence_too(server: Any, tmp_path: Path) -> None:
    port = server.url.rsplit(":", 1)[1]
    late = (
        "import bentos.commands as c; c.require_protected_and_free = lambda _: None; from rag.cli import main; main()"
    )
    refused = subprocess.run(
        [sys.executable, "-c", late, "serve", "--port", port],
        env=server.environment | {"BANKSIGHT_DATA_DIR": str(tmp_path), "BENTOML_HOME": ""},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert refused.returncode == 3
    assert refused.stderr.strip().splitlines()[-1].startswith(f"Error: port {port} on 127.0.0.1 cannot be used")
    assert "Traceback" not in refused.stderr


def _refused(settings: Settings) -> bool:
    try:
        refuse_unprotected(settings)
    except ConfigurationError:
        return True
    return False


@pytest.mark.proves("GDPR 25", "PCI DSS 7.3.3", "ISO A.5.15")
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "bank.example"])  # noqa: S104 - what must be refused
def test_everybody_s_network_without_sign_in_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"identity\.mode is none"):
        refuse_unprotected(_settings(host=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_alone_needs_no_sign_in(host: str) -> None:
    assert not _refused(_settings(host=host))


def test_private_network_behind_a_gateway_is_the_operator_s_decision() -> None:
    overrides = {"server": {"host": "0.0.0.0"}, "identity": {"peers": "private_network"}}  # noqa: S104
    assert not _refused(load_settings("test", environment={}, overrides=overrides))
