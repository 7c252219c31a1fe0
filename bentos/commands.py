"""`banksight serve`: the HTTP API until Ctrl-C. Imports little: `banksight --help` loads this file too."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from bentos.start_folder import start_folder
from rag.errors import ConfigurationError, ModelError
from rag.governance.roles import for_roles
from rag.settings import Settings, load_settings

FAILURE_FILE = "BANKSIGHT_FAILURE_FILE"  # where a worker writes why it cannot start, before it ends the whole service


@for_roles("operator")
@click.command()
@click.option("--host", help="Address to listen on.  [default: server.host of the configuration]")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on.  [default: server.port]")
def serve(host: str | None, port: int | None) -> int:
    """Serve the HTTP API; its documentation is the page at its address. Ctrl-C lets running answers finish."""
    for name, value in (("HOST", host), ("PORT", port)):
        if value is not None:
            os.environ[f"BANKSIGHT__SERVER__{name}"] = str(value)  # the workers read the configuration themselves
    settings = load_settings()
    require_protected_and_free(settings)
    require_right_card(settings, os.environ)
    with _folder_of_this_start(settings.data_dir) as folder:
        os.environ["BENTOML_HOME"] = os.environ.get("BENTOML_HOME") or str(folder)
        failure = folder / "failure.json"
        os.environ[FAILURE_FILE] = str(failure)
        _run(settings)
        if failure.exists():
            raise _error_from(failure)
    return 0


def require_protected_and_free(settings: Settings) -> None:
    """Raise `ConfigurationError` when the API may not or cannot listen where the settings say."""
    from bentos.principals import refuse_unprotected  # noqa: PLC0415 - brings FastAPI

    refuse_unprotected(settings)
    server = settings.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as error:
            raise _port_refused(settings, error) from error


def require_right_card(settings: Settings, environment: Mapping[str, str]) -> None:
    """Raise `ModelError` where a model is to run, and the software was built for other cards than this machine has."""
    from bentos.targets import refuse_wrong_build, refuse_wrong_card, target_of  # noqa: PLC0415
    from rag.operations.installed import this_machine  # noqa: PLC0415
    from rag.operations.model_findings import needs_a_model  # noqa: PLC0415

    target = target_of(environment)
    if target and needs_a_model(settings):
        machine = this_machine()
        refuse_wrong_build(target, machine.torch_cuda)
        refuse_wrong_card(target, machine)


def _port_refused(settings: Settings, error: OSError) -> ConfigurationError:
    server = settings.server
    return ConfigurationError(
        f"port {server.port} on {server.host} cannot be used ({error.strerror or error}); "
        "stop what uses it, or choose another with --port"
    )


@contextmanager
def _folder_of_this_start(data_dir: Path) -> Iterator[Path]:
    """Where BentoML keeps metrics and a worker says why it cannot start."""
    with ExitStack() as until_the_end:
        try:
            folder = until_the_end.enter_context(start_folder(data_dir / "starts"))
        except OSError as error:
            raise ConfigurationError(
                f"the data folder {data_dir} cannot be written ({error.strerror or error}); "
                "give this user the right to write there, or set BANKSIGHT_DATA_DIR to another folder"
            ) from error
        yield folder


def tell_the_operator(error: Exception) -> bool:
    """Called in a worker that cannot start: under `banksight serve`, write why. True when somebody will read it."""
    place = os.environ.get(FAILURE_FILE)
    if not place:
        return False
    content = {"model": isinstance(error, ModelError), "message": str(error)}
    Path(place).write_text(json.dumps(content), encoding="utf-8")
    return True


def _run(settings: Settings) -> None:
    import bentoml  # noqa: PLC0415 - takes a second

    click.echo(f"BankSight API on http://{settings.server.host}:{settings.server.port}", err=True)
    try:
        bentoml.serve(
            "bentos.assistant:Assistant",
            host="127.0.0.1" if settings.server.host == "localhost" else settings.server.host,
            port=settings.server.port,
            working_dir=str(Path(__file__).parent.parent),
            blocking=True,
        )
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise _port_refused(settings, error) from error  # somebody took it after we had looked


def _error_from(failure: Path) -> Exception:
    content = json.loads(failure.read_text(encoding="utf-8"))
    return (ModelError if content["model"] else ConfigurationError)(content["message"])
