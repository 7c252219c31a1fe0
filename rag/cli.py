"""The command `banksight`. Sub-commands are loaded when they are called, so that `--help` answers at once."""

from __future__ import annotations

import logging
import sys

import click

from connectors.errors import ConnectorError
from rag.commands.lazy import LazyGroup
from rag.errors import BankSightError, ModelError

_OURS = {
    "audit": "rag.commands.audit:audit",
    "ask": "rag.commands.ask:ask",
    "backup": "rag.commands.backup:backup",
    "doctor": "rag.commands.doctor:doctor",
    "documents": "rag.commands.documents:documents",
    "index": "rag.commands.index:index",
    "ingest": "rag.commands.ingest:ingest",
    "keys": "rag.commands.keys:keys",
    "models": "rag.commands.models:models",
    "preflight": "rag.commands.preflight:preflight",
    "proxy": "rag.commands.proxy:proxy",
    "quarantine": "rag.commands.quarantine:quarantine",
    "up": "rag.commands.up:up",
    "users": "rag.commands.users:users",
    "worker": "rag.commands.worker:worker",
    "version": "rag.commands.version:version",
}

EXIT_CODES = """Exit codes: 0 done; 1 done, but something needs attention (a document failed, stores differ); 2 wrong
usage; 3 a setting, a folder or a server is not as it must be; 4 a model could not be loaded; 130 interrupted."""


@click.group(
    cls=LazyGroup,
    group="banksight.commands",
    places=_OURS,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("-v", "--verbose", is_flag=True, help="Log what happens to standard error.")
def banksight(verbose: bool) -> None:  # noqa: FBT001  click passes options by name
    """Answers questions about a bank's own documents, with page-exact citations."""
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")


def main() -> None:
    """The console script: errors become one sentence on standard error and an exit code."""
    try:
        sys.exit(banksight(standalone_mode=False) or 0)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (BankSightError, ConnectorError) as error:
        click.secho(f"Error: {error}", fg="red", err=True)
        sys.exit(4 if isinstance(error, ModelError) else 3)


if __name__ == "__main__":
    main()
