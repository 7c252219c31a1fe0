"""The page at `/`: the OpenAPI document made readable, in one file without scripts: no internet needed."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from bentos.principals import for_anyone

STYLE = """
:root { color-scheme: light dark;
        --ink: #1b2430; --paper: #fdfdfc; --quiet: #5d6875; --line: #d9dde2; --code: #f1f3f5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7eaee; --paper: #14181d; --quiet: #9aa6b2; --line: #333b45; --code: #1e242b; }
}
body { margin: 0 auto; max-width: 56rem; padding: 1.5rem; color: var(--ink); background: var(--paper);
       font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } p { margin: .3rem 0; }
a { color: inherit; } .quiet { color: var(--quiet); }
code, pre { font: .86rem/1.5 ui-monospace, monospace; background: var(--code); border-radius: 4px; }
code { padding: .1em .3em; } pre { padding: .8rem; overflow-x: auto; white-space: pre-wrap; }
details { border-top: 1px solid var(--line); padding: .5rem 0; } summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: .5rem 0; }
td { border-top: 1px solid var(--line); padding: .3rem .8rem .3rem 0; vertical-align: top; }
""".strip()
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    f"style-src 'sha256-{_STYLE_HASH}'",
    "X-Content-Type-Options": "nosniff",
}


def install(app: FastAPI) -> None:
    """Serve the page at `/`."""

    @app.get("/", include_in_schema=False, dependencies=[for_anyone()])
    async def reference() -> HTMLResponse:
        return HTMLResponse(render(app.openapi()), headers=_HEADERS)


def render(document: dict[str, Any]) -> str:
    """An OpenAPI document as one HTML page."""
    info = document["info"]
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["Other"])[0]
            by_tag.setdefault(tag, []).append(_operation(method, path, operation, document))
    sections = "".join(f"<section><h2>{escape(tag)}</h2>{''.join(items)}</section>" for tag, items in by_tag.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])} API</title><style>{STYLE}</style></head>
<body><header><h1>{escape(info["title"])} API <span class="quiet">{escape(info["version"])}</span></h1>
<p>{escape(info.get("description", ""))}</p>
<p class="quiet">For programs: <a href="/docs.json">/docs.json</a> (OpenAPI {escape(document["openapi"])}).</p></header>
<main>{sections}</main></body></html>"""


def _operation(method: str, path: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    about = "".join(f"<p>{escape(part)}</p>" for part in operation.get("description", "").split("\n\n") if part)
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> "
        f'<span class="quiet">{escape(operation.get("summary", ""))}</span></summary>{about}'
        f"{_parameters(operation)}{_body(operation, document)}{_responses(operation)}</details>"
    )


def _parameters(operation: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}"
        f"{', required' if each.get('required') else ''}</td><td>{escape(_kind(each['schema']))} "
        f"{escape(each.get('description', ''))}</td></tr>"
        for each in operation.get("parameters", [])
    ]
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _body(operation: dict[str, Any], document: dict[str, Any]) -> str:
    """The fields of the request body, one row each."""
    rows = []
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = _resolved(content["schema"], document)
        required = schema.get("required", [])
        rows.append(f'<tr><td colspan="3" class="quiet">Body: {escape(media_type)}</td></tr>')
        for name, field in schema.get("properties", {}).items():
            rows.append(
                f"<tr><td><code>{escape(name)}</code></td><td>{'required' if name in required else ''}</td>"
                f"<td>{escape(_kind(field))} {escape(field.get('description', ''))}{_example(field)}</td></tr>"
            )
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _responses(operation: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(str(status))}</code></td><td>{escape(each.get('description', ''))}</td></tr>"
        for status, each in operation.get("responses", {}).items()
    ]
    return f"<table>{''.join(rows)}</table>"


def _example(field: dict[str, Any]) -> str:
    examples = field.get("examples")
    return f"<pre>{escape(json.dumps(examples[0], ensure_ascii=False))}</pre>" if examples else ""


def _kind(schema: dict[str, Any]) -> str:
    """A type in few words: `integer`, `list of string`, `string or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(str(each) for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][str(reference).rsplit("/", 1)[-1]]
    return found
