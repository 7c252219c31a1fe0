"""`banksight load`. Imports little: `banksight --help` loads this file too."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from rag.governance.roles import for_roles

if TYPE_CHECKING:
    from evaluations.load.running import Load

_KEY_VARIABLE: Final = "BANKSIGHT_API_KEY"
_INTERRUPTED: Final = 130


class _UrlOrCommand(click.Group):
    """`load URL` is `load run URL`: what is neither a command nor the group's own help goes to `run`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of all commands."""
        return ["capacity", "run"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; `capacity` is imported now."""
        return _capacity() if cmd_name == "capacity" else super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        if args and args[0] not in {*self.list_commands(ctx), "--help", "-h"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@for_roles("operator")
@click.group(cls=_UrlOrCommand, context_settings={"help_option_names": ["-h", "--help"]})
def load() -> None:
    """Many people at once: `banksight load URL` measures a running service (options: `banksight load run --help`)."""


def _capacity() -> click.Command:
    from evaluations.load.capacity_command import capacity  # noqa: PLC0415 - see the head of this file

    return capacity


@load.command()
@click.argument("url")
@click.option("--users", default=10, show_default=True, type=click.IntRange(1, 5000), help="People at once.")
@click.option("--think", default=10.0, show_default=True, type=click.FloatRange(0), help="Mean seconds to think.")
@click.option("--duration", default=60.0, show_default=True, type=click.FloatRange(1), help="Seconds.")
@click.option("--ramp", type=click.FloatRange(0), help="Seconds until all have come.  [default: a tenth of --duration]")
@click.option(
    "--mix", "mix_file", type=click.Path(path_type=Path, dir_okay=False), help="What people do.  [default: shipped]"
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="An HTML page to write.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="A JSON file to write.")
@click.option("--api-key", default="", envvar=_KEY_VARIABLE, help=f"Also {_KEY_VARIABLE}, which hides it from `ps`.")
@click.option("--connect", default="", metavar="HOST:PORT", help="Reach the service there, whatever the URL names.")
@click.option("--certificate", type=click.Path(exists=True, dir_okay=False), help="PEM file that vouches for it.")
@click.option("--timeout", default=60.0, show_default=True, type=click.FloatRange(0.1), help="Seconds for one request.")
@click.option("--seed", default=0, show_default=True, help="Draws what people do.")
def run(  # noqa: PLR0913, PLR0917 - click hands over every option
    url: str, users: int, think: float, duration: float, ramp: float | None, mix_file: Path | None,
    report: Path | None, json_file: Path | None, api_key: str, connect: str, certificate: str | None, timeout: float,
    seed: int,
) -> int:  # fmt: skip
    """Let people ask the service at URL, think, ask again; say what they got and which stage is slowest.

    Ctrl-C ends the load early and reports what was done. The exit code is 1 when a request failed; being turned away
    (429, 503) is counted and is no failure.
    """
    from evaluations.load.exchange import Place  # noqa: PLC0415 - see the head of this file
    from evaluations.load.mix import SHIPPED, load_mix, load_questions  # noqa: PLC0415
    from evaluations.load.plan import Plan  # noqa: PLC0415
    from evaluations.load.running import carry_out  # noqa: PLC0415
    from evaluations.load.showing import Setting  # noqa: PLC0415

    mix = load_mix(mix_file or SHIPPED)
    plan = Plan(
        Place(_checked(url), api_key, timeout, _address(connect), certificate or ""), users, duration, think,
        duration / 10 if ramp is None else ramp, mix.model_dump_json(), load_questions(mix, seed), seed,
    )  # fmt: skip
    with _shown(duration) as show:
        done = carry_out(plan, show)
    setting = Setting(plan.place.url, users, think, duration, done.cut, seed, *_now_and_here())
    failed = _tell(setting, done, report, json_file)
    return _INTERRUPTED if done.cut else int(failed)


def _tell(setting: Any, done: Load, report: Path | None, json_file: Path | None) -> bool:
    """Print and write the report; whether a request failed."""
    from evaluations.load.figures import GOOD, figures  # noqa: PLC0415
    from evaluations.load.showing import to_html, to_json, to_text  # noqa: PLC0415

    found = figures(done.samples, done.seconds)
    click.echo(to_text(setting, found))
    good = [sample for sample in done.samples if sample.result in GOOD]
    totals = [sample.total for sample in good if sample.timings]
    firsts = [sample.first for sample in good if sample.first is not None]
    for path, content in ((report, to_html(setting, found, totals, firsts)), (json_file, to_json(setting, found))):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            click.echo(f"\nwritten: {path}")
    return bool(found.failed) or not done.samples


def _checked(url: str) -> str:
    """A base address. Raises `click.BadParameter` for what cannot be one."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise click.BadParameter(f"{url!r} is no address; give something like http://127.0.0.1:3000", param_hint="URL")
    return url


def _address(connect: str) -> str:
    host, _, port = connect.rpartition(":")
    if connect and not (host and port.isdigit()):
        raise click.BadParameter(f"{connect!r} is not HOST:PORT", param_hint="--connect")
    return connect


def _now_and_here() -> tuple[str, str]:
    from datetime import UTC, datetime  # noqa: PLC0415

    from evaluations.runs.machine import machine  # noqa: PLC0415

    return (
        datetime.now(UTC).isoformat(timespec="seconds"),
        f"{machine()}, load average {os.getloadavg()[0]:.1f} at the end",
    )


def _shown(seconds: float) -> Any:
    """A bar on standard error: how far, how many were served, turned away, failed."""
    from contextlib import contextmanager  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    from evaluations.load.figures import GOOD  # noqa: PLC0415

    @contextmanager
    def shown() -> Any:
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            line = bar.add_task("people are coming", total=seconds)

            def show(load: Load) -> None:
                done = list(load.samples)
                good = sum(sample.result in GOOD for sample in done)
                away = sum(sample.result == "busy" for sample in done)
                told = f"{good} served, {away} turned away, {len(done) - good - away} failed"
                bar.update(line, completed=min(seconds, load.seconds), description=told)

            yield show

    return shown()
