"""`banksight evaluate gate` and `keys`: may this version go out, and who said so."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from evaluations.commands.options import opened_store, runs_option
from evaluations.gate.deciding import Baseline, Candidate, Decision, decide, require_slices
from evaluations.gate.judged import require_checked_judges
from evaluations.gate.judging import EXIT_CODES
from evaluations.gate.junit import junit_xml
from evaluations.gate.policy import Policy
from evaluations.gate.records import create_key, sign, verify, write
from evaluations.metrics.directions import direction_of
from evaluations.runs.store import RunStore
from evaluations.runs.whole import read_whole, scored_run
from evaluations.yaml_files import read_model

_TONES = {"pass": "green", "fail": "red", "inconclusive": "yellow", "waived": "yellow"}
_FILE = click.Path(dir_okay=False, path_type=Path)
_THERE = click.Path(exists=True, dir_okay=False, path_type=Path)
_EPILOG = (
    "Exit codes: 0 pass; 10 the quality is not enough; 11 inconclusive, the suite cannot tell or there is no baseline; "
    "2 wrong usage; 3 an error: a run is not whole, a file is wrong, a signature does not hold."
)


@click.command(epilog=_EPILOG)
@click.argument("run")
@click.option("--policy", "policy_file", type=_THERE, required=True, help="YAML with floors, margins and waivers.")
@click.option("--baseline", type=_THERE, help="The signed decision that approved the run to compare with.")
@click.option("--trust", type=_THERE, help="The public key that the baseline's decision must be signed with.")
@click.option("--by", "approver", default="", help="Who decides; stands in the record.")
@click.option("--key", type=_THERE, help="Private key that signs the record.")
@click.option("--record", type=_FILE, help="Where the signed decision is written; never over another one.")
@click.option("--junit", type=_FILE, help="Write the checks as JUnit XML for a CI server.")
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
@runs_option
def gate(  # noqa: PLR0913 - one parameter for each option
    *,
    run: str,
    policy_file: Path,
    baseline: Path | None,
    trust: Path | None,
    approver: str,
    key: Path | None,
    record: Path | None,
    junit: Path | None,
    as_json: bool,
    runs: Path,
) -> int:
    """Decide whether a RUN is good enough, by floors and against the approved baseline."""
    if record and not (key and approver):
        raise click.UsageError("--record needs --key, to sign with, and --by, the name of who decides")
    policy = read_model(policy_file, Policy)
    with opened_store(runs) as store:
        candidate = _candidate(store, run)
        require_slices(policy, candidate.run)
        require_checked_judges(policy, store.scores(candidate.run.name), runs)
        approved = _baseline(store, baseline, trust) if baseline else None
    decision = decide(policy, candidate, approved, approver=approver)
    if junit:
        junit.write_bytes(junit_xml(candidate.suite, decision.checked))
    if record and key:
        write(sign(decision.content, key), record)
    _show(decision, as_json=as_json)
    return EXIT_CODES[decision.verdict]


def _candidate(store: RunStore, run_id: str) -> Candidate:
    whole = read_whole(store, run_id)
    scored = scored_run(whole, direction_of)
    return Candidate(scored, whole.digest, whole.info.suite, asdict(whole.info.fingerprints))


def _baseline(store: RunStore, decision_file: Path, trust: Path | None) -> Baseline:
    approved: dict[str, Any] = verify(decision_file, trust)
    whole = read_whole(store, approved["run"])
    return Baseline(scored_run(whole, direction_of), whole.digest, approved)


def _show(decision: Decision, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(decision.content, ensure_ascii=False, indent=2))
        return
    for each in decision.checked:
        click.echo(f"{click.style(f'{each.outcome:<12}', fg=_TONES[each.outcome])} {each.name}: {each.reason}")
    click.secho(f"{decision.verdict}: {decision.content['run']}", fg=_TONES[decision.verdict], bold=True)


@click.group()
def keys() -> None:
    """Keys that sign decisions, and the check of what they signed."""


@keys.command("create")
@click.argument("private", type=_FILE)
def create(private: Path) -> None:
    """Make a key pair: PRIVATE for who decides, PRIVATE.pub for everybody who checks."""
    public = create_key(private)
    click.echo(f"{private} signs; keep it secret. {public} checks; give it to those who rely on decisions.")


@keys.command("verify")
@click.argument("record", type=_THERE)
@click.option("--trust", type=_THERE, help="The public key that must have signed.")
def verify_record(record: Path, trust: Path | None) -> None:
    """Check that a RECORD is as it was signed, and show what it says."""
    content = verify(record, trust)
    whose = f"with {trust}" if trust else "with the key in it; name the one you trust with --trust"
    click.echo(f"The signature holds, {whose}.")
    click.echo(f"{content['verdict']}: {content['run']}, decided by {content['decided_by']} at {content['decided_at']}")
