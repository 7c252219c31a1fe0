"""Every route and every command says whom it is for, and nobody else gets in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bentos import roles as roles_module
from bentos.application import create_app
from bentos.opening import Opening
from bentos.principals import all_routes, stated
from rag.domain import Principal
from rag.errors import NotSignedIn
from rag.governance.roles import expanded
from rag.settings import Settings, load_settings
from rag.settings.identity import ROLES

ROOT = Path(__file__).parents[2]
BODIES: dict[str, dict[str, Any]] = {"GET": {}, "DELETE": {}, "POST": {"json": {}}, "PUT": {"json": {}}}


class RoleByName:
    """`Authorization: Bearer analyst` is an analyst: what a signed-in person may do is the question here."""

    async def principal(self, authorization: str | None) -> Principal:
        if not authorization:
            raise NotSignedIn(presented=False)
        return Principal("someone", roles=expanded([authorization.removeprefix("Bearer ")]))

    async def sign_out(self, authorization: str | None) -> None:
        return None

    def close(self) -> None:
        return None


def _settings(mode: str) -> Settings:
    return load_settings("test", environment={}, overrides={"identity": {"mode": mode}})


def _operations() -> list[tuple[str, str, frozenset[str]]]:
    """Every method of every path of the API with the roles that it states, from an application never opened."""
    app = create_app(Opening(_settings("api_key"), lambda: pytest.fail("only the routes are looked at")))
    found = []
    for route in all_routes(app):
        roles = stated(route)
        assert roles is not None, f"{route.path} does not say whom it is for: dependencies=[requires(...)]"
        found += [(m, route.path, frozenset({"anyone"}) if roles == "anyone" else roles) for m in route.methods or ()]
    return found


@pytest.fixture(scope="module")
def guarded(opening: Opening) -> FastAPI:
    """The application, with sign-in, over the workspace of all tests here."""
    settings = _settings("api_key").model_copy(update={"data_dir": opening.settings.data_dir})
    workspace = replace(opening.workspace(), settings=settings, authentication=RoleByName())
    return create_app(Opening(settings, lambda: (workspace, opening.jobs())).start().wait())


def _caller(app: FastAPI, **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


def _filled(path: str) -> str:
    ids = {"{document_id}": "0" * 16, "{job_id}": "0" * 32, "{number}": "1", "{model:path}": "banksight"}
    ids["{erasure_id}"] = "0" * 32
    ids["{receipt_id}"] = f"{'0' * 8}-20260101-{'0' * 16}"
    for name, value in ids.items():
        path = path.replace(name, value)
    assert "{" not in path, f"say here what stands for the parameters of {path}"
    return path


def _name(value: object) -> str:
    """The same in every process: sets print in any order."""
    return "+".join(sorted(value)) if isinstance(value, frozenset) else str(value)


@pytest.mark.proves("AISVS 5.2.1", "ASVS 8.2.1", "PCI DSS 7.2.1", "SOC 2 CC6.3", "ISO A.5.15")
@pytest.mark.parametrize(("method", "path", "roles"), _operations(), ids=_name)
async def test_a_route_is_for_the_roles_that_it_states_and_for_nobody_else(
    guarded: FastAPI, method: str, path: str, roles: frozenset[str]
) -> None:
    for role in (*ROLES, "stranger"):
        async with _caller(guarded, authorization=f"Bearer {role}") as caller:
            response = await caller.request(method, _filled(path), **BODIES[method])
        allowed = bool(roles & ({"anyone"} | expanded([role])))
        assert (response.status_code == 403) != allowed, (role, response.status_code, response.text)
        assert response.status_code != 401


@pytest.mark.proves("ASVS 8.3.1", "SOC 2 CC6.1")
@pytest.mark.parametrize(("method", "path", "roles"), _operations(), ids=_name)
async def test_without_a_key_a_route_answers_401_before_it_reads_anything(
    guarded: FastAPI, method: str, path: str, roles: frozenset[str]
) -> None:
    read = False

    async def body() -> Any:
        nonlocal read
        read = True
        yield b"not json"

    async with _caller(guarded) as caller:
        response = await caller.request(method, _filled(path), content=body() if method == "POST" else None)
    if "anyone" in roles:
        assert response.status_code != 401
        return
    assert (response.status_code, read) == (401, False)
    assert response.headers["www-authenticate"] == 'Bearer realm="BankSight"'
    problem = response.json()
    assert (
        problem.get("type", "") == "urn:banksight:problem:not_signed_in" or problem["error"]["code"] == "not_signed_in"
    )


async def test_unknown_paths_are_not_told_from_known_ones_without_a_key(guarded: FastAPI) -> None:
    async with _caller(guarded) as caller:
        assert (await caller.get("/v1/there-is-no-such-route")).status_code == 401
    async with _caller(guarded, authorization="Bearer user") as caller:
        assert (await caller.get("/v1/there-is-no-such-route")).status_code == 404


@pytest.mark.proves("AISVS 5.2.1", "PCI DSS 7.3.3")
async def test_a_route_that_states_nothing_is_for_admins(opening: Opening, guarded: FastAPI) -> None:
    app = create_app(guarded.state.opening)

    @app.get("/forgotten")
    async def forgotten() -> str:
        return "secret"

    codes = {}
    for role in ROLES:
        async with _caller(app, authorization=f"Bearer {role}") as caller:
            codes[role] = (await caller.get("/forgotten")).status_code
    assert codes == dict.fromkeys(ROLES, 403) | {"admin": 200}


@pytest.mark.proves("ASVS 8.2.1", "ISO A.8.2")
def test_every_command_says_whom_it_is_for() -> None:
    silent = [name for name, roles in roles_module.commands() if roles is None]
    assert not silent, f"{silent}: put @for_roles(...) above the command or its group"


@pytest.mark.proves("ASVS 8.1.1")
def test_the_tables_in_the_documentation_are_those_of_the_code(tmp_path: Path) -> None:
    written = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    copy = tmp_path / "security.md"
    copy.write_text(written, encoding="utf-8")
    roles_module.main([str(copy)])
    assert copy.read_text(encoding="utf-8") == written, "run `python -m bentos.roles docs/security.md`"


@pytest.mark.parametrize(
    ("roles", "more"), [(["analyst"], {"user"}), (["admin"], set(ROLES)), (["operator"], set()), (["root"], {"user"})]
)
def test_roles_include_others_only_where_the_table_says_so(roles: Iterable[str], more: set[str]) -> None:
    known = expanded(roles)
    assert known == ({*roles} | more if set(roles) <= set(ROLES) else frozenset())


def test_sign_in_is_described_in_the_openapi_document(guarded: FastAPI, make_settings: Callable[..., Settings]) -> None:
    operation = guarded.openapi()["paths"]["/v1/search"]["post"]
    assert (operation["security"], operation["x-roles"]) == ([{"bearer": []}], ["analyst"])
    assert "security" not in guarded.openapi()["paths"]["/livez"]["get"]
