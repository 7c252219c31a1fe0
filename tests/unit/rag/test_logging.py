"""The log: one valid line for each event whatever is in it, no secrets, no text of people, files for some days."""

from __future__ import annotations

import json
import logging
import multiprocessing
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import ConfigurationError
from rag.operations.logging_files import DailyFile
from rag.operations.logging_form import HumanLines, JsonLines
from rag.operations.logging_secrets import redacted
from rag.operations.logging_setup import handlers
from rag.operations.tracing import serving

HOSTILE = st.text(st.characters(), max_size=200) | st.sampled_from(
    ["\n{\"level\": \"INFO\"}", "\r\n", "\x1b[2J\x1b[1;1H", "\u2028\u2029\x85", "\ud800", '"}', "%s%n", "\u202eevil"]
)  # fmt: skip


def _record(event: str, *args: object, exc_info: Any = None, **extra: object) -> logging.LogRecord:
    return logging.getLogger("t").makeRecord("rag.x", logging.WARNING, "f.py", 1, event, args, exc_info, extra=extra)


@pytest.mark.proves("ASVS 16.2.4", "ASVS 16.4.1")
@given(HOSTILE, HOSTILE)
def test_whatever_is_logged_is_one_line_of_json(text: str, field: str) -> None:
    line = JsonLines("assistant").format(_record("the file %s", text, route=field))
    assert line.isascii()
    assert line.isprintable()
    parsed = json.loads(line)
    assert set(parsed) == {"time", "level", "event", "logger", "service", "process", "route"}
    if text == redacted(text):
        assert parsed["event"] == f"the file {text}"


@pytest.mark.proves("ASVS 16.4.1")
@given(HOSTILE, HOSTILE)
def test_whatever_is_logged_is_one_line_for_people_without_control_characters(text: str, field: str) -> None:
    line = HumanLines().format(_record("the file %s", text, route=field))
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line


@pytest.mark.proves("ASVS 16.2.5")
def test_fields_that_nobody_allowed_are_dropped() -> None:
    line = JsonLines("assistant").format(
        _record("answered", question="When does it close?", answer_id="a1", status=200)
    )
    assert "question" not in line
    assert (json.loads(line)["answer_id"], json.loads(line)["status"]) == ("a1", 200)


@pytest.mark.proves("ASVS 16.2.1", "ASVS 16.2.2", "ISO A.8.17")
def test_the_time_is_utc_to_the_millisecond_and_the_trace_is_named() -> None:
    record = _record("request")
    with serving({"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}):
        parsed = json.loads(JsonLines("assistant").format(record))
    assert parsed["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    written = datetime.fromisoformat(parsed["time"])
    assert abs(written.timestamp() - record.created) < 0.0011
    assert written.tzinfo == UTC


def test_an_exception_is_told_by_type_and_place_without_its_message() -> None:
    try:
        raise ValueError("When does the merger close?")
    except ValueError:
        line = JsonLines("assistant").format(_record("incident 1", exc_info=sys.exc_info()))
    error = json.loads(line)["error"]
    assert error["type"] == "ValueError"
    assert "test_logging.py" in error["at"][-1]
    assert "merger" not in line


SECRETS = {
    "postgresql://bank:hunter2hunter2@db:5432/x": "hunter2hunter2",
    "redis://:correct-horse@cache:6379/0": "correct-horse",
    "Authorization: Bearer abc.def-ghi_123456": "abc.def-ghi_123456",
    "headers {'X-Api-Key': 'k3y-0123456789abcdef'}": "k3y-0123456789abcdef",
    "https://hub/file?X-Amz-Signature=deadbeefcafe&part=1": "deadbeefcafe",
    "password=tr0ub4dor": "tr0ub4dor",
    '{"client_secret": "s3cr3tvalue"}': "s3cr3tvalue",
    "key sk-proj-0123456789abcdefghij failed": "sk-proj-0123456789abcdefghij",
    "hf_abcdefghijklmnopqrstuv was refused": "hf_abcdefghijklmnopqrstuv",
    "LTAI5tAbCdEfGhIjKlMnOpQr": "LTAI5tAbCdEfGhIjKlMnOpQr",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl": "eyJzdWIiOiJhIn0",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----": "MIIEvQIBADANBg",
}  # fmt: skip


@pytest.mark.proves("ASVS 16.2.5", "PCI DSS 8.3.2")
@pytest.mark.parametrize("text", SECRETS)
def test_secrets_are_hidden_in_events_and_fields_of_both_forms(text: str) -> None:
    for form in (JsonLines("assistant"), HumanLines()):
        line = form.format(_record("could not connect: %s", text, reason=text))
        assert SECRETS[text] not in line
        assert "[hidden]" in line


@pytest.mark.parametrize(
    "text",
    [
        "linking 3 unreachable vectors of regulations-1 anew",
        "incident 0123456789ab",
        "the answer used 700 tokens, 90 of them written",
        "no Chroma server answers at chroma:8001: check storage.chroma_host",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.proves("ASVS 14.2.7", "GDPR 5(1)(e)", "SOC 2 P4.2")
def test_a_file_for_each_day_and_those_older_than_a_week_are_deleted(tmp_path: Path) -> None:
    day = [date(2026, 3, 10)]
    for name in (
        "banksight-2026-03-02.jsonl",
        "banksight-2026-03-03.jsonl",
        "banksight-2026-99-99.jsonl",
        "audit.jsonl",
    ):
        (tmp_path / name).write_text("{}\n")
    handler = DailyFile(tmp_path, 7, lambda: day[0])
    handler.setFormatter(JsonLines("assistant"))
    handler.handle(_record("first"))
    day[0] = date(2026, 3, 11)
    handler.handle(_record("second"))
    handler.close()
    assert {path.name for path in tmp_path.iterdir()} == {
        "banksight-2026-03-10.jsonl", "banksight-2026-03-11.jsonl", "banksight-2026-99-99.jsonl", "audit.jsonl"
    }  # fmt: skip
    assert json.loads((tmp_path / "banksight-2026-03-10.jsonl").read_text())["event"] == "first"
    assert json.loads((tmp_path / "banksight-2026-03-11.jsonl").read_text())["event"] == "second"


def test_on_the_seventh_day_a_file_is_still_there(tmp_path: Path) -> None:
    (tmp_path / "banksight-2026-03-03.jsonl").write_text("{}\n")
    DailyFile(tmp_path, 7, lambda: date(2026, 3, 10)).close()
    assert (tmp_path / "banksight-2026-03-03.jsonl").exists()


def _write_many(folder: str, name: str) -> None:
    handler = DailyFile(Path(folder), 7)
    handler.setFormatter(JsonLines(name))
    for number in range(300):
        handler.handle(_record("line " + "x" * 500, count=number))
    handler.close()


def test_several_processes_write_whole_lines_into_one_file(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    writers = [spawn.Process(target=_write_many, args=(str(tmp_path), f"w{number}")) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [json.loads(line) for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert {(line["service"], line["count"]) for line in lines} == {(f"w{w}", n) for w in range(4) for n in range(300)}


def test_a_folder_that_cannot_be_written_is_told_with_its_setting(tmp_path: Path, make_settings: Any) -> None:
    (tmp_path / "file").write_text("")
    settings = make_settings(logging={"dir": str(tmp_path / "file" / "logs")})
    with pytest.raises(ConfigurationError, match=r"logging\.dir"):
        handlers(settings, "assistant")


@pytest.mark.proves("ASVS 16.2.3")
def test_a_laptop_gets_words_on_standard_error_and_no_file(settings: Any) -> None:
    found = handlers(settings, "assistant")
    assert [type(each.formatter) for each in found] == [HumanLines]
