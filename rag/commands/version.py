"""`banksight version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click

from rag.governance.roles import for_roles

_SHOWN = ("bentoml", "chainlit", "chromadb", "llama-index-core", "onnxruntime", "openvino", "tantivy", "torch")


@for_roles("user", "analyst", "operator", "auditor")
@click.command()
def version() -> None:
    """The version of BankSight and of what it stands on."""
    click.echo(f"banksight {version_of('banksight')}")
    click.echo(f"python {platform.python_version()} on {platform.machine()}")
    for name in _SHOWN:
        try:
            click.echo(f"{name} {version_of(name)}")
        except PackageNotFoundError:
            click.echo(f"{name} not installed")
