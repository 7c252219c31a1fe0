"""What a tenant, a collection and labels are called in Chroma and in the lexical index."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.storage.catalog import scope_name

NAMES = st.text("ab-.,[]\"' ", max_size=6)
LABELS = st.frozensets(NAMES, max_size=3)


@pytest.mark.proves("LLM08", "AISVS 8.1.1")
@given(NAMES, LABELS, NAMES, LABELS)
def test_two_tenants_or_sets_of_labels_never_share_a_name(
    tenant: str, labels: frozenset[str], other_tenant: str, other_labels: frozenset[str]
) -> None:
    same = (tenant, labels) == (other_tenant, other_labels)
    assert (scope_name(tenant, "rules", labels) == scope_name(other_tenant, "rules", other_labels)) is same
