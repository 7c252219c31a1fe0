"""The bill of materials of a release: valid, complete, and true."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from bentos import bill_of_materials as module
from rag.errors import ConfigurationError
from rag.models.manifest import pinned_models


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return module.bill_of_materials()


@pytest.fixture
def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in document["components"]}


@pytest.mark.proves("PCI DSS 6.3.2", "LLM03")
def test_it_is_valid_by_the_schema(document: dict[str, Any]) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None


@pytest.mark.proves("PCI DSS 6.3.2", "LLM03", "SOC 2 CC7.1")
def test_it_lists_what_runs_at_a_bank_with_licences_and_nothing_of_developers(
    document: dict[str, Any], by_name: dict[str, dict[str, Any]]
) -> None:
    assert document["metadata"]["component"]["name"] == "banksight"
    assert {"chromadb", "bentoml", "chainlit", "torch", "bitsandbytes", "scikit-learn"} <= set(by_name)
    assert not {"mypy", "ruff", "playwright", "bandit", "detect-secrets"} & set(by_name)
    libraries = [each for each in document["components"] if each["type"] == "library"]
    assert sum("licenses" in each for each in libraries) > 0.9 * len(libraries)
    needs = {each["ref"]: each.get("dependsOn", []) for each in document["dependencies"]}
    assert by_name["fastapi"]["bom-ref"] in needs["root-component"]
    assert by_name["starlette"]["bom-ref"] in needs[by_name["fastapi"]["bom-ref"]]


@pytest.mark.proves("PCI DSS 6.3.2", "LLM03")
def test_every_pinned_file_of_a_model_is_listed_by_its_digest(by_name: dict[str, dict[str, Any]]) -> None:
    for model in pinned_models():
        listed = by_name[model.repository]
        assert listed["version"] == model.revision
        assert {each["name"]: each["hashes"][0]["content"] for each in listed["components"]} == model.digests
    assert by_name["banksight-answerability"]["components"][0]["hashes"][0]["alg"] == "SHA-256"


def test_what_is_not_what_is_pinned_makes_no_bill() -> None:
    with pytest.raises(ConfigurationError, match=r"chromadb 0\.0\.1 is installed, but constraints\.txt pins"):
        module._require_pinned([{"name": "chromadb", "version": "0.0.1"}])
    module._require_pinned([{"name": "not-pinned-anywhere", "version": "1"}])
