"""nginx's configuration from the settings; that nginx takes it, tests/integration/test_proxy.py shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rag.errors import ConfigurationError
from rag.proxy.nodes import Node, found
from rag.proxy.rendering import rendered
from rag.settings import Settings

NODES = [Node("10.0.0.1", 3000), Node("fd00::1", 3000)]


@pytest.fixture
def usable(make_settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., Settings]:
    """Settings with a certificate; overrides of `proxy` by name."""
    (tmp_path / "pem").touch()

    def make(server: dict[str, Any] | None = None, **proxy: Any) -> Settings:
        pem = {"certificate": str(tmp_path / "pem"), "certificate_key": str(tmp_path / "pem")}
        return make_settings(proxy=pem | proxy, server=server or {})

    return make


def test_no_blank_stays_unfilled(usable: Callable[..., Settings], tmp_path: Path) -> None:
    files = rendered(usable(), tmp_path, NODES, NODES, ())
    assert {"nginx.conf", "api.conf", "ui.conf", "upstreams.conf"} <= files.keys()
    assert not [name for name, text in files.items() if re.search(r"@[a-z_]+_[a-z_]+@", text)]


def test_nodes_that_are_down_are_named_so(usable: Callable[..., Settings], tmp_path: Path) -> None:
    text = rendered(usable(), tmp_path, NODES, NODES[:1], NODES[1:])["upstreams.conf"]
    assert "server 10.0.0.1:3000 max_fails=2" in text
    assert "server [fd00::1]:3000 down;" in text


def test_callers_address_is_believed_from_named_proxies_only(usable: Callable[..., Settings], tmp_path: Path) -> None:
    assert "set_real_ip_from" not in rendered(usable(), tmp_path, NODES, NODES, ())["nginx.conf"]
    behind = usable(trusted_proxies=["10.1.0.0/16"], unlimited=["10.2.0.0/16"])
    text = rendered(behind, tmp_path, NODES, NODES, ())["nginx.conf"]
    assert "set_real_ip_from 10.1.0.0/16;" in text
    assert "10.2.0.0/16 0;" in text


def test_a_node_counts_as_hanging_later_than_a_question_may_wait(
    usable: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = usable()
    text = rendered(settings, tmp_path, NODES, NODES, ())["api.conf"]
    events = int(re.findall(r"proxy_read_timeout (\d+)s;", text.split("location @events")[1])[0])
    assert events > settings.admission.queue_seconds


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        ({"certificate": ""}, "proxy.certificate"),
        ({"certificate_key": "missing.pem"}, "proxy.certificate_key"),
        ({"api_host": "one.test", "ui_host": "one.test"}, "must differ"),
        ({"server": {"heartbeat_seconds": 2}}, "proxy.read_seconds"),
        ({"api_host": "a;b"}, "proxy.api_host"),
        ({"access_log": "/dev/null; include /etc/passwd"}, "proxy.access_log"),
    ],
)
def test_what_nginx_could_not_or_must_not_read_is_refused(
    usable: Callable[..., Settings], tmp_path: Path, overrides: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(word)):
        rendered(usable(**overrides), tmp_path, NODES, NODES, ())


def test_nodes_come_from_words_and_files_without_repetition(tmp_path: Path) -> None:
    (tmp_path / "nodes").write_text("# written by autoscaling\n127.0.0.2:3000\n\n[::1]:3001\n127.0.0.1:3000\n")
    assert [str(node) for node in found(["127.0.0.1:3000", f"file:{tmp_path}/nodes"])] == [
        "127.0.0.1:3000", "127.0.0.2:3000", "[::1]:3001",
    ]  # fmt: skip


@pytest.mark.parametrize("entries", [[], ["file:missing"], ["localhost"], ["127.0.0.1:http"]])
def test_lists_without_a_usable_node_are_refused(entries: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        found(entries)
