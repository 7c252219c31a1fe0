"""The audit trail: every change to it is found and placed, and nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import NotFound, StorageUnavailable
from rag.governance.audit_anchors import Head, write_anchor
from rag.governance.audit_files import tail_of
from rag.governance.audit_lines import AuditKeys, audit_keys, canonical, chains, lines_of, parsed, segments
from rag.governance.audit_reading import prune, records_of
from rag.governance.audit_verifying import Verification, verify
from rag.governance.audit_writer import AuditWriter, Places

SECRET = "0123456789abcdef" * 4
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock:
    """A day that tests turn."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path) -> AuditKeys:
    return audit_keys(SECRET, tmp_path)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "audit", tmp_path / "spool", 100_000, tmp_path / "audit" / "anchors", 3600)


Open = Callable[[], AuditWriter]


@pytest.fixture
def opened(places: Places, keys: AuditKeys, clock: Clock) -> Iterator[Open]:
    writers: list[AuditWriter] = []

    def open_one() -> AuditWriter:
        writers.append(AuditWriter(places, keys, clock))
        return writers[-1]

    yield open_one
    for each in writers:
        each.close()


@contextmanager
def writing(opened: Open) -> Iterator[AuditWriter]:
    writer = opened()
    yield writer
    writer.close()


def filled(opened: Open, count: int = 10) -> str:
    """A closed chain with this many records."""
    with writing(opened) as writer:
        for number in range(count):
            writer.append("answer", "somebody", {"number": number}).result()
        return writer.chain


def checked(places: Places, keys: AuditKeys, *more: Path) -> Verification:
    return verify(places.folder, places.anchor_dir, keys, more)


def faults(places: Places, keys: AuditKeys, *more: Path) -> list[str]:
    return [f"{each.place}: {each.what}" for each in checked(places, keys, *more).faults]


def segment_of(places: Places, chain: str) -> Path:
    (segment,) = segments(places.folder / chain)
    return segment


def test_an_untouched_trail_has_no_faults(opened: Open, places: Places, keys: AuditKeys) -> None:
    filled(opened)
    found = checked(places, keys)
    assert (found.records, found.chains, found.anchors, found.faults) == (10, 1, 1, [])


def test_lines_are_canonical_json(opened: Open, places: Places) -> None:
    for line in segment_of(places, filled(opened)).read_bytes().splitlines():
        assert rfc8785.dumps(json.loads(line)) == line


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab\n\x7f", max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text("abcé\U0001f600\ue000", max_size=3), JSON, max_size=4))
def test_the_fast_writer_writes_what_the_standard_says(value: dict[str, Any]) -> None:
    assert canonical(value) == rfc8785.dumps(value)


def test_a_chain_goes_on_after_a_restart(opened: Open, places: Places, keys: AuditKeys) -> None:
    assert filled(opened) == filled(opened)
    assert checked(places, keys).records == 20
    assert not faults(places, keys)


def test_processes_that_run_at_the_same_time_have_chains_of_their_own(
    opened: Open, places: Places, keys: AuditKeys
) -> None:
    with writing(opened) as one, writing(opened) as two:
        assert one.chain != two.chain
        for writer in (one, two):
            writer.append("login", "somebody", {}).result()
    assert len(chains(places.folder)) == 2
    assert not faults(places, keys)


def test_many_threads_leave_one_chain_without_a_gap(opened: Open, places: Places, keys: AuditKeys) -> None:
    with writing(opened) as writer, ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(lambda n: writer.append("answer", "x", {"n": n}).result(), range(400)))
    assert len(set(ids)) == checked(places, keys).records == 400
    assert not faults(places, keys)


@pytest.mark.proves("ASVS 16.4.2", "PCI DSS 10.3.4", "ISO A.5.33")
@pytest.mark.parametrize("line", [0, 4, 9])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_flipped_bit_is_found_in_its_line(
    opened: Open, places: Places, keys: AuditKeys, line: int, share: float
) -> None:
    chain = filled(opened)
    segment = segment_of(places, chain)
    lines = segment.read_bytes().splitlines()
    changed = bytearray(lines[line])
    changed[int(share * len(changed))] ^= 1
    lines[line] = bytes(changed)
    segment.write_bytes(b"\n".join(lines) + b"\n")
    assert any(f"{segment.name}, line {line + 1}: this line was changed" in each for each in faults(places, keys))


@pytest.mark.proves("PCI DSS 10.3.4", "ISO A.5.33")
def test_a_removed_line_is_found_where_it_was(opened: Open, places: Places, keys: AuditKeys) -> None:
    segment = segment_of(places, filled(opened))
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:4] + lines[5:]))
    (fault,) = faults(places, keys)
    assert fault.endswith("line 5: before this line record 4 of the chain is missing")


def test_removed_first_lines_are_found(opened: Open, places: Places, keys: AuditKeys) -> None:
    segment = segment_of(places, filled(opened))
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[3:]))
    (fault,) = faults(places, keys)
    assert "begins with record 3" in fault


def test_swapped_lines_are_found(opened: Open, places: Places, keys: AuditKeys) -> None:
    segment = segment_of(places, filled(opened))
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[3], lines[6] = lines[6], lines[3]
    segment.write_bytes(b"".join(lines))
    assert any("out of order" in each for each in faults(places, keys))


@pytest.mark.proves("PCI DSS 10.3.4", "ISO A.5.33")
def test_a_cut_tail_is_found_by_the_anchor(opened: Open, places: Places, keys: AuditKeys) -> None:
    chain = filled(opened)
    segment = segment_of(places, chain)
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:7]))
    (fault,) = faults(places, keys)
    assert fault.startswith(f"{chain}: the end is cut off")
    assert "has record 9" in fault
    assert "ends with record 6" in fault


def test_a_tail_cut_together_with_its_anchors_is_found_by_a_copy(
    opened: Open, places: Places, keys: AuditKeys, tmp_path: Path
) -> None:
    chain = filled(opened)
    tail = tail_of(places.folder / chain, places.spool_dir / "none", keys.chain)
    assert tail is not None
    write_anchor(tmp_path / "copy.json", {chain: Head(tail.seq, tail.mac)}, keys)
    segment = segment_of(places, chain)
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:7]))
    for each in places.anchor_dir.iterdir():
        each.unlink()
    assert not faults(places, keys)
    assert any("the end is cut off" in each for each in faults(places, keys, tmp_path / "copy.json"))


def test_a_chain_that_was_removed_whole_is_found_by_its_anchor(opened: Open, places: Places, keys: AuditKeys) -> None:
    segment_of(places, filled(opened)).unlink()
    assert any("no record at all" in each for each in faults(places, keys))


def test_a_cut_tail_that_was_written_over_is_found(opened: Open, places: Places, keys: AuditKeys) -> None:
    chain = filled(opened)
    segment = segment_of(places, chain)
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:7]))
    filled(opened)
    assert any("is not the one that the anchor" in each for each in faults(places, keys))


@pytest.mark.proves("PCI DSS 10.3.2")
def test_a_forged_anchor_is_no_anchor(opened: Open, places: Places, keys: AuditKeys, tmp_path: Path) -> None:
    chain = filled(opened)
    write_anchor(tmp_path / "forged.json", {chain: Head(3, "0" * 64)}, audit_keys("another secret " * 4, tmp_path))
    (fault,) = faults(places, keys, tmp_path / "forged.json")
    assert "not signed by this installation" in fault


@pytest.mark.proves("ASVS 16.4.2", "PCI DSS 10.3.2")
def test_without_the_secret_no_line_can_be_made(opened: Open, places: Places, tmp_path: Path) -> None:
    filled(opened)
    assert len(checked(places, audit_keys("another secret " * 4, tmp_path)).faults) >= 10


def test_a_line_that_a_killed_process_left_unfinished_is_sealed(opened: Open, places: Places, keys: AuditKeys) -> None:
    chain = filled(opened)
    with segment_of(places, chain).open("ab") as file:
        file.write(b'{"mac":"0123')
    assert filled(opened, 3) == chain
    assert checked(places, keys).records == 14
    assert not faults(places, keys)


def test_a_seal_does_not_hide_a_line_that_was_removed_beside_it(opened: Open, places: Places, keys: AuditKeys) -> None:
    chain = filled(opened)
    with segment_of(places, chain).open("ab") as file:
        file.write(b'{"mac":"0123')
    filled(opened, 3)
    segment = segment_of(places, chain)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:9] + lines[10:]))  # the whole line before the unfinished one
    assert faults(places, keys)


def test_a_clock_that_is_put_back_does_not_put_records_out_of_order(
    opened: Open, places: Places, keys: AuditKeys, clock: Clock
) -> None:
    filled(opened, 3)
    clock.now -= timedelta(days=2)
    with writing(opened) as writer:
        receipt = writer.append("answer", "x", {}).result()
    assert not faults(places, keys)
    assert records_of(receipt, places, keys.chain)


KILLED = """
import sys
from pathlib import Path
from rag.governance.audit_lines import audit_keys
from rag.governance.audit_writer import AuditWriter, Places
root = Path(sys.argv[1])
writer = AuditWriter(
    Places(root / "audit", root / "spool", 100_000, root / "audit" / "anchors", 3600), audit_keys(sys.argv[2], root)
)
while True:
    futures = [writer.append("answer", "x", {"text": "y" * 2000}) for _ in range(50)]
    print("\\n".join(each.result() for each in futures), flush=True)
"""


@pytest.mark.proves("ISO A.5.28", "ISO A.8.15")
def test_no_acknowledged_record_is_lost_when_the_process_is_killed(
    opened: Open, places: Places, keys: AuditKeys, tmp_path: Path
) -> None:
    acknowledged: list[str] = []
    for rounds in (3, 20):
        command = [sys.executable, "-c", KILLED, str(tmp_path), SECRET]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged += [process.stdout.readline().strip() for _ in range(rounds * 50)]
            process.kill()
    filled(opened, 1)
    assert not faults(places, keys)
    (chain,) = chains(places.folder)
    read = [parsed(line, keys.chain) for segment in segments(chain) for _, line, _ in lines_of(segment)]
    written = {each[0].id for each in read if each}
    assert set(acknowledged) <= written


def block(places: Places, chain: str, clock: Clock) -> Path:
    """From now on a full disk: the next day's segment is a device that takes nothing."""
    clock.now += timedelta(days=1)
    segment = places.folder / chain / f"{clock.now:%Y-%m-%d}.jsonl"
    segment.symlink_to("/dev/full")
    return segment


@pytest.mark.proves("ASVS 16.5.2")
def test_a_full_disk_is_bridged_by_the_spool_and_nothing_is_out_of_order(
    opened: Open, places: Places, keys: AuditKeys, clock: Clock
) -> None:
    with writing(opened) as writer:
        writer.append("answer", "x", {}).result()
        segment = block(places, writer.chain, clock)
        ids = [writer.append("answer", "x", {"n": n}).result() for n in range(5)]
        assert (places.spool_dir / f"{writer.chain}.jsonl").stat().st_size
        assert len(records_of(ids[2], places, keys.chain)) == 1
        segment.unlink()
        writer.append("answer", "x", {}).result()
        assert not (places.spool_dir / f"{writer.chain}.jsonl").exists()
    assert checked(places, keys).records == 7
    assert not faults(places, keys)


def test_what_was_spooled_is_moved_by_the_next_process(
    opened: Open, places: Places, keys: AuditKeys, clock: Clock
) -> None:
    with writing(opened) as writer:
        writer.append("answer", "x", {}).result()
        segment = block(places, writer.chain, clock)
        writer.append("answer", "x", {}).result()
        chain = writer.chain
    segment.unlink()
    assert filled(opened, 2) == chain
    assert checked(places, keys).records == 4
    assert not faults(places, keys)


@pytest.mark.proves("ASVS 16.5.3")
def test_what_can_be_recorded_nowhere_fails_and_is_not_recorded(
    opened: Open, places: Places, keys: AuditKeys, clock: Clock
) -> None:
    with writing(opened) as writer:
        writer.append("answer", "x", {}).result()
        segment = block(places, writer.chain, clock)
        places.spool_dir.mkdir()
        spool = places.spool_dir / f"{writer.chain}.jsonl"
        spool.symlink_to("/dev/full")
        with pytest.raises(StorageUnavailable, match="cannot be recorded, so nothing is"):
            writer.append("answer", "x", {}).result()
        segment.unlink()
        spool.unlink()
        writer.append("answer", "x", {}).result()
    assert checked(places, keys).records == 2
    assert not faults(places, keys)


def test_the_spool_has_an_end(opened: Open, places: Places, clock: Clock) -> None:
    with writing(opened) as writer:
        writer.append("answer", "x", {}).result()
        block(places, writer.chain, clock)
        for _ in range(9):
            writer.append("answer", "x", {"text": "y" * 10_000}).result()
        with pytest.raises(StorageUnavailable):
            writer.append("answer", "x", {"text": "y" * 10_000}).result()
        assert (places.spool_dir / f"{writer.chain}.jsonl").stat().st_size <= places.spool_bytes


def test_records_of_one_receipt_are_found_by_its_id(opened: Open, places: Places, keys: AuditKeys) -> None:
    filled(opened)
    with writing(opened) as writer:
        receipt = writer.new_id()
        writer.append("question", "x", {}, receipt).result()
        writer.append("answer", "x", {"about": receipt}).result()
        writer.append("answer", "x", {"status": "answered"}, receipt).result()
    assert [each.kind for each in records_of(receipt, places, keys.chain)] == ["question", "answer"]
    with pytest.raises(NotFound):
        records_of(receipt[:-1] + ("0" if receipt[-1] != "0" else "1"), places, keys.chain)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "0" * 8 + "-99999999-" + "0" * 16])
def test_what_is_no_receipt_id_is_not_found(places: Places, keys: AuditKeys, name: str) -> None:
    with pytest.raises(NotFound):
        records_of(name, places, keys.chain)


@pytest.mark.proves("PCI DSS 10.5.1", "SOC 2 P4.2")
def test_old_days_can_be_pruned_and_the_rest_still_be_checked(
    opened: Open, places: Places, keys: AuditKeys, clock: Clock
) -> None:
    for _ in range(4):
        chain = filled(opened, 3)
        clock.now += timedelta(days=100)
    with writing(opened) as writer:
        gone = prune(places, writer, 250, clock.now.date())
    assert [each.stem for each in gone] == ["2026-03-01", "2026-06-09"]
    assert not faults(places, keys)
    segments(places.folder / chain)[0].unlink()
    assert any("no record says that those before it were pruned" in each for each in faults(places, keys))


def test_a_folder_that_cannot_be_made_says_so(places: Places, keys: AuditKeys) -> None:
    places.folder.parent.mkdir(exist_ok=True)
    places.folder.write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(StorageUnavailable, match="audit trail"):
        AuditWriter(places, keys)


@pytest.mark.proves("ASVS 16.4.2")
def test_the_secret_is_made_once_and_only_for_us(tmp_path: Path) -> None:
    assert audit_keys("", tmp_path).public == audit_keys("", tmp_path).public
    assert (tmp_path / "audit-secret").stat().st_mode & 0o077 == 0
