"""The checks of a gate as JUnit XML, which every CI server shows."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from evaluations.gate.judging import Checked


def junit_xml(suite: str, checked: Sequence[Checked]) -> bytes:
    """One test case per check. A failed check is a failure, an inconclusive one an error, a waived one is skipped."""
    count = {name: sum(1 for each in checked if each.outcome == name) for name in ("fail", "inconclusive", "waived")}
    root = ET.Element(
        "testsuite",
        name=f"banksight evaluate gate: {suite}",
        tests=str(len(checked)),
        failures=str(count["fail"]),
        errors=str(count["inconclusive"]),
        skipped=str(count["waived"]),
    )
    elements = {"fail": "failure", "inconclusive": "error", "waived": "skipped"}
    for each in checked:
        case = ET.SubElement(root, "testcase", classname=suite, name=each.name)
        if each.outcome in elements:
            ET.SubElement(case, elements[each.outcome], message=each.reason)
        else:
            ET.SubElement(case, "system-out").text = each.reason
    xml: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml
