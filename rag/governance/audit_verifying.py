"""Whether the audit trail is as it was written, and where it is not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rag.governance.audit_anchors import Head, anchor_files, read_anchor
from rag.governance.audit_lines import (
    PRUNED,
    SEALED,
    START,
    AuditKeys,
    Record,
    chains,
    digest,
    lines_of,
    parsed,
    segments,
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written. `place` is file and line, or the chain."""

    place: str
    what: str


@dataclass(slots=True)
class Verification:
    """What was looked at, and what is wrong."""

    chains: int = 0
    records: int = 0
    anchors: int = 0
    faults: list[Fault] = field(default_factory=list)


@dataclass(slots=True)
class _Chain:
    """One chain on its way through its lines."""

    name: str
    first: Record | None = None
    expected: int | None = None  # number of the next record; None before the first one
    before: str = START  # MAC of the record before
    unreadable: list[Fault] = field(default_factory=list)  # lines since then that cannot be checked
    macs: dict[int, str] = field(default_factory=dict)  # of the records that anchors name
    torn: dict[str, Fault] = field(default_factory=dict)  # lines that cannot be checked, by their SHA-256
    pruned: dict[str, Head] = field(default_factory=dict)
    last: int = -1


def verify(folder: Path, anchor_dir: Path, keys: AuditKeys, more_anchors: Iterable[Path] = ()) -> Verification:
    """Check every line of every chain, and every anchor. `more_anchors` are copies kept elsewhere, files or folders."""
    found = Verification()
    heads: dict[str, list[tuple[str, Head]]] = {}
    for path in anchor_files(anchor_dir, more_anchors):
        anchor = read_anchor(path, keys.public)
        if anchor is None:
            found.faults.append(Fault(str(path), "this anchor is not signed by this installation, or was changed"))
            continue
        found.anchors += 1
        for chain, head in anchor.heads.items():
            heads.setdefault(chain, []).append((f"the anchor {anchor.name} of {anchor.at}", head))
    seen: dict[str, _Chain] = {}
    for each in chains(folder):
        wanted = {head.seq for _, head in heads.get(each.name, ())}
        seen[each.name] = _follow(each, keys.chain, wanted, found)
    pruned: dict[str, Head] = {}
    for name, head in (told for state in seen.values() for told in state.pruned.items()):
        if name not in pruned or head.seq > pruned[name].seq:
            pruned[name] = head
    for state in seen.values():
        _check_start(state, pruned.get(state.name), found)
    for name, told in heads.items():
        for source, head in told:
            _check_head(name, seen.get(name), source, head, pruned.get(name), found)
    return found


def _follow(chain: Path, key: bytes, wanted: set[int], found: Verification) -> _Chain:
    state = _Chain(chain.name)
    found.chains += 1
    for segment in segments(chain):
        for number, line, _ in lines_of(segment):
            place = f"{chain.name}/{segment.name}, line {number}"
            read = parsed(line, key)
            if read is None:
                fault = Fault(place, "this line was changed, or is not of this trail")
                state.torn[digest(line)] = fault
                state.unreadable.append(fault)
                continue
            found.records += 1
            _step(state, place, *read, wanted, found)
    found.faults += state.torn.values()
    return state


def _step(state: _Chain, place: str, record: Record, mac: str, wanted: set[int], found: Verification) -> None:
    """Check that a record, whose own MAC is right, stands where it belongs."""
    if record.chain != state.name:
        found.faults.append(Fault(place, f"this record belongs to chain {record.chain}"))
        return
    if record.kind == SEALED:
        state.torn.pop(str(record.body["torn_sha256"]), None)
    if record.kind == PRUNED:
        for name, head in record.body["chains"].items():
            state.pruned[name] = Head(head["seq"], head["mac"])
    if state.first is None:
        state.first = record
    elif state.expected is not None and record.seq > state.expected:
        _report_gap(state, place, record.seq - state.expected, found)
    elif state.expected is not None and record.seq < state.expected:
        found.faults.append(Fault(place, f"record {record.seq} stands after record {state.last}: out of order"))
        return
    elif record.prev != state.before:
        found.faults.append(Fault(place, "this record does not follow the one before it"))
    state.unreadable.clear()
    if record.seq in wanted:
        state.macs[record.seq] = mac
    state.last, state.expected, state.before = record.seq, record.seq + 1, mac


def _report_gap(state: _Chain, place: str, missing: int, found: Verification) -> None:
    """Records are missing: they are the lines that cannot be checked, or they are gone."""
    if missing <= len(state.unreadable):
        found.faults += state.unreadable  # no seal can say any more that these were only torn
        state.torn = {key: each for key, each in state.torn.items() if each not in state.unreadable}
        return
    first = state.last + 1
    which = f"record {first}" if missing == 1 else f"records {first} to {first + missing - 1}"
    found.faults.append(
        Fault(place, f"before this line {which} of the chain {'is' if missing == 1 else 'are'} missing")
    )


def _check_start(state: _Chain, pruned: Head | None, found: Verification) -> None:
    first = state.first
    if first is None or (first.seq == 0 and first.prev == START):
        return
    if pruned is None or first.seq > pruned.seq + 1 or (first.seq == pruned.seq + 1 and first.prev != pruned.mac):
        what = f"the chain begins with record {first.seq}, and no record says that those before it were pruned"
        found.faults.append(Fault(state.name, what))


def _check_head(
    name: str, state: _Chain | None, source: str, head: Head, pruned: Head | None, found: Verification
) -> None:
    if pruned is not None and head.seq <= pruned.seq:
        return
    if state is None or head.seq > state.last:
        last = "no record at all" if state is None or state.last < 0 else f"record {state.last}"
        what = f"the end is cut off: {source} has record {head.seq}, and the chain ends with {last}"
        found.faults.append(Fault(name, what))
    elif state.macs.get(head.seq) not in (head.mac, None):
        found.faults.append(Fault(name, f"record {head.seq} is not the one that {source} has"))


def as_json(found: Verification) -> dict[str, Any]:
    """For programs."""
    faults = [{"place": each.place, "what": each.what} for each in found.faults]
    return {"chains": found.chains, "records": found.records, "anchors": found.anchors, "faults": faults}
