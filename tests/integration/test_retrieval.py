"""Search through the real stores: MiniLM, Chroma, the lexical index, the registry, and who may see what."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import QueryBundle

from rag.bootstrap import Workspace, open_workspace
from rag.domain import Passage, Principal, SearchFilter
from rag.errors import QuestionError
from rag.query.retrieval import HybridRetriever, Searcher
from rag.settings import CollectionSettings, load_settings

ANYBODY = Principal("somebody")
HR = Principal("hr-person", clearances=frozenset({"hr"}))
EVERYTHING = SearchFilter()
RULES = {
    "transfers.md": "# Electronic transfers\n\nAn unauthorized transfer must be reported within sixty days.\n\n"
    "# Errors\n\nThe institution shall investigate an error within ten business days.\n",
    "cards.md": "# Cards\n\nReport a stolen card by telephone at once. Liability is limited to fifty dollars.\n",
    "mortgages.md": "# Mortgages\n\nThe escrow account pays property taxes and insurance of the dwelling.\n",
}
FILINGS = {
    "Acme_2022_10K.txt": "Net sales were 40 million dollars and cost of sales was 30 million dollars.",
    "Globex_2022_10K.txt": "Net sales were 90 million dollars and cost of sales was 50 million dollars.",
}
SIDECARS = {
    "rules/salaries.md": ("# Salaries\n\nSalary bands of tellers: from 40,000 to 52,000 dollars.\n", "access: [hr]\n"),
    "rules/fees-2023.md": ("# Fees\n\nThe wire transfer fee is twenty dollars.\n", "effective_to: 2023-12-31\n"),
    "rules/fees-2024.md": ("# Fees\n\nThe wire transfer fee is thirty dollars.\n", "effective_from: 2024-01-01\n"),
}


def write(root: Path) -> None:
    for folder, texts in (("rules", RULES), ("filings", FILINGS)):
        (root / folder).mkdir(parents=True)
        for name, text in texts.items():
            (root / folder / name).write_text(text, encoding="utf-8")
    for path, (text, sidecar) in SIDECARS.items():
        (root / path).write_text(text, encoding="utf-8")
        (root / f"{path}.meta.yaml").write_text(sidecar, encoding="utf-8")
    (root / "crowd").mkdir()
    for number in range(60):
        text = f"Parking rule {number}: visitors park in bay {number} of the garage, never in bay {number + 1}."
        (root / "crowd" / f"parking-{number:02}.txt").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("retrieval")
    write(root)
    sources = [{"name": name, "collection": name, "root": str(root / name)} for name in ("rules", "filings", "crowd")]
    overrides: dict[str, Any] = {
        "data_dir": str(root / "data"),
        "sources": sources,
        "embedding": {"bulk_backend": "onnx"},
        "retrieval": {"candidates": 10},
    }
    opened = open_workspace(load_settings("test", environment={}, overrides=overrides))
    assert not opened.ingest().failed
    yield opened
    opened.close()


@pytest.fixture
def search(workspace: Workspace) -> Callable[..., list[Passage]]:
    def run(
        question: str, who: Principal = ANYBODY, narrow: SearchFilter = EVERYTHING, top_k: int = 5
    ) -> list[Passage]:
        return workspace.searcher.search(question, who, narrow, top_k)

    return run


@pytest.fixture
def searcher_with(workspace: Workspace) -> Callable[..., Searcher]:
    def make(weights: dict[str, float] | None = None, **changes: Any) -> Searcher:
        stores = workspace.stores
        return Searcher(
            workspace.embedding, stores.vectors, stores.lexical, stores.catalog, stores.registry,
            workspace.settings.retrieval.model_copy(update=changes),
            {name: CollectionSettings(dense_weight=weight) for name, weight in (weights or {}).items()},
        )  # fmt: skip

    return make


def names(passages: list[Passage]) -> list[str]:
    return [passage.title for passage in passages]


def test_the_passage_that_answers_comes_first_verbatim_and_with_its_place(
    workspace: Workspace, search: Callable[..., list[Passage]]
) -> None:
    best = search("How soon must an unauthorised transfer be reported?")[0]
    page = workspace.registry.page(best.document_id, best.page)
    assert "within sixty days" in best.text
    assert page.text[best.start : best.end] == best.text
    assert (best.collection, best.section) == ("rules", "Electronic transfers")
    assert 0 < best.score <= 1
    assert best.dense is not None
    assert best.dense > 0.5
    assert best.lexical is not None


def test_scores_fall_and_equal_questions_get_equal_answers(search: Callable[..., list[Passage]]) -> None:
    first = search("parking in the garage", top_k=20)
    assert [each.score for each in first] == sorted((each.score for each in first), reverse=True)
    assert first == search("parking in the garage", top_k=20)


def test_every_candidate_has_a_cosine_even_when_only_words_found_it(search: Callable[..., list[Passage]]) -> None:
    assert all(each.dense is not None for each in search("escrow account pays bay 7 taxes", top_k=20))


@pytest.mark.proves("LLM08", "AISVS 8.1.3", "SOC 2 C1.1")
def test_labelled_documents_are_found_only_by_those_who_hold_the_label(search: Callable[..., list[Passage]]) -> None:
    assert names(search("salary bands of tellers", HR))[0] == "Salaries"
    assert "Salaries" not in names(search("salary bands of tellers", ANYBODY, top_k=50))


@pytest.mark.proves("AISVS 8.1.3", "ASVS 8.4.1")
def test_another_tenant_finds_nothing(search: Callable[..., list[Passage]]) -> None:
    assert search("wire transfer fee", Principal("x", tenant="other", clearances=frozenset({"hr"}))) == []


@pytest.mark.proves("AISVS 8.3.1")
@pytest.mark.parametrize(("day", "fee"), [(date(2023, 6, 1), "twenty"), (date(2024, 6, 1), "thirty"), (None, "thirty")])
def test_the_version_in_force_on_the_day_is_found(
    search: Callable[..., list[Passage]], day: date | None, fee: str
) -> None:
    found = [
        each.text
        for each in search("wire transfer fee", narrow=SearchFilter(as_of=day), top_k=50)
        if "wire" in each.text
    ]
    assert [fee in text for text in found] == [True]


def test_a_collection_filter_leaves_the_others_out(search: Callable[..., list[Passage]]) -> None:
    found = search("wire transfer fee", narrow=SearchFilter(collections=("filings",)), top_k=50)
    assert {each.collection for each in found} == {"filings"}
    with pytest.raises(QuestionError, match="unknown collection 'unknown'"):
        search("wire transfer fee", narrow=SearchFilter(collections=("unknown",)))


def test_a_narrow_filter_still_fills_top_k_behind_many_better_matches(
    workspace: Workspace, search: Callable[..., list[Passage]]
) -> None:
    """Many more documents than are asked for as candidates are closer to the question than the two wanted."""
    documents = {each.title: each.id for each in workspace.documents(ANYBODY)}
    wanted = (documents["Mortgages"], documents["Cards"])
    found = search("visitors park in a bay of the garage", narrow=SearchFilter(document_ids=wanted), top_k=2)
    assert {each.document_id for each in found} == set(wanted)


def test_a_filter_cannot_name_what_may_not_be_seen(workspace: Workspace, search: Callable[..., list[Passage]]) -> None:
    [secret] = [each.id for each in workspace.documents(HR) if each.title == "Salaries"]
    assert search("salary bands", ANYBODY, SearchFilter(document_ids=(secret,))) == []
    assert search("salary bands", ANYBODY, SearchFilter(document_ids=("0" * 16,))) == []
    assert names(search("salary bands", HR, SearchFilter(document_ids=(secret,)))) == ["Salaries"]


def test_the_few_documents_in_force_are_found_behind_all_that_are_not(tmp_path: Path) -> None:
    """With 10 candidates at first, and 40 expired versions that fit at least as well."""
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "_folder.yaml").write_text("effective_to: 2020-12-31\n")
    for number in range(40):
        (folder / f"fees-{number}.txt").write_text(f"The wire transfer fee of version {number} is {number} dollars.")
    for name in ("today", "also"):
        (folder / f"{name}.txt").write_text(f"Dogs are welcome {name}.")
        (folder / f"{name}.txt.meta.yaml").write_text("effective_to: 2999-12-31\n")
    overrides: dict[str, Any] = {
        "data_dir": str(tmp_path / "data"),
        "sources": [{"name": "papers", "collection": "rules", "root": str(folder)}],
        "embedding": {"bulk_backend": "onnx"},
        "retrieval": {"candidates": 10},
    }
    workspace = open_workspace(load_settings("test", environment={}, overrides=overrides))
    try:
        workspace.ingest()
        found = workspace.searcher.search("wire transfer fee of a version in dollars", ANYBODY, EVERYTHING, 2)
        assert names(found) == ["also", "today"] or names(found) == ["today", "also"]
    finally:
        workspace.close()


def test_all_there_is_comes_back_when_top_k_is_larger(search: Callable[..., list[Passage]]) -> None:
    found = search("parking", narrow=SearchFilter(collections=("crowd",)), top_k=200)
    assert len(found) == len({each.chunk_id for each in found}) == 60


def test_weights_decide_between_meaning_and_words(searcher_with: Callable[..., Searcher]) -> None:
    question = "purloined plastic escrow"
    by_meaning = searcher_with(dense_weight=1.0).search(question, ANYBODY, EVERYTHING, 5)
    by_words = searcher_with(dense_weight=0.0).search(question, ANYBODY, EVERYTHING, 5)
    assert by_meaning[0].dense == max(each.dense or 0.0 for each in by_meaning)
    assert names(by_words)[0] == "Mortgages"
    assert by_words[0].lexical == max(each.lexical or 0.0 for each in by_words)


def test_a_collection_s_own_weight_goes_before_the_default(searcher_with: Callable[..., Searcher]) -> None:
    rules = SearchFilter(collections=("rules",))
    question = "purloined plastic escrow"
    own = searcher_with({"rules": 0.0}, dense_weight=1.0).search(question, ANYBODY, rules, 5)
    default = searcher_with(dense_weight=0.0).search(question, ANYBODY, rules, 5)
    assert [each.chunk_id for each in own] == [each.chunk_id for each in default]


def test_the_company_that_the_question_names_goes_first(search: Callable[..., list[Passage]]) -> None:
    assert names(search("What were net sales of Globex in FY2022?"))[0].startswith("Globex")
    assert names(search("What were net sales of Acme in FY2022?"))[0].startswith("Acme")


def test_a_ratio_finds_the_lines_it_is_computed_from(search: Callable[..., list[Passage]]) -> None:
    assert "cost of sales" in search("What was Acme's gross margin?")[0].text


@pytest.mark.parametrize("question", ["", "   \n", "\t"])
def test_a_blank_question_finds_nothing(search: Callable[..., list[Passage]], question: str) -> None:
    assert search(question) == []


@pytest.mark.parametrize(
    "question",
    [
        "the of and",
        "¿Cuánto cuesta una transferencia?",
        "电汇费用是多少",
        '"AND (OR:NOT)^~*',
        "\x00",
        "x" * 100_000,
        "fee? " * 20_000,
    ],
)
def test_odd_questions_are_searched_without_an_error(search: Callable[..., list[Passage]], question: str) -> None:
    assert len(search(question, top_k=3)) == 3


def test_the_llama_index_retriever_gives_the_same_passages(
    workspace: Workspace, search: Callable[..., list[Passage]]
) -> None:
    retriever = HybridRetriever(workspace.searcher, ANYBODY, EVERYTHING, top_k=4)
    expected = [(each.chunk_id, each.score, each.text) for each in search("wire transfer fee", top_k=4)]
    now = retriever.retrieve("wire transfer fee")
    later = asyncio.run(retriever.aretrieve(QueryBundle("wire transfer fee")))
    assert [(each.node_id, each.score, each.text) for each in now] == expected
    assert [each.node_id for each in later] == [each.node_id for each in now]
    assert now[0].metadata["page"] == 1


@pytest.mark.proves("AISVS 5.3.1")
async def test_questions_asked_together_get_what_each_would_alone(workspace: Workspace) -> None:
    asked = [
        (question, who, narrow, top_k)
        for question in ("Where do visitors park?", "What is the salary of a teller?", "The wire transfer fee?")
        for who in (ANYBODY, HR)
        for narrow, top_k in ((EVERYTHING, 5), (SearchFilter(collections=("rules",)), 3))
    ]
    searcher = workspace.searcher
    found = await asyncio.gather(*(searcher.asearch(*each) for each in asked))
    for each, passages in zip(asked, found, strict=True):
        alone = searcher.search(*each)
        assert [passage.chunk_id for passage in passages] == [passage.chunk_id for passage in alone]
        assert [passage.score for passage in passages] == pytest.approx([passage.score for passage in alone], abs=1e-4)


@pytest.mark.proves("AISVS 8.3.1", "GDPR 17", "SOC 2 C1.2", "ISO A.8.10")
def test_a_deleted_document_is_found_no_more(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "fees.md").write_text("# Fees\n\nThe wire transfer fee is twenty dollars.\n")
    overrides: dict[str, Any] = {
        "data_dir": str(tmp_path / "data"),
        "sources": [{"name": "papers", "collection": "rules", "root": str(tmp_path / "papers")}],
        "embedding": {"bulk_backend": "onnx"},
    }
    workspace = open_workspace(load_settings("test", environment={}, overrides=overrides))
    try:
        workspace.ingest()
        [passage] = workspace.searcher.search("wire fee", ANYBODY, EVERYTHING, 5)
        workspace.delete_document(passage.document_id, ANYBODY)
        assert workspace.searcher.search("wire fee", ANYBODY, EVERYTHING, 5) == []
    finally:
        workspace.close()


@pytest.mark.proves("AISVS 8.3.2")
def test_a_removed_lexical_index_is_filled_again_from_the_registry(tmp_path: Path) -> None:
    write(tmp_path)
    overrides: dict[str, Any] = {
        "data_dir": str(tmp_path / "data"),
        "sources": [{"name": "rules", "collection": "rules", "root": str(tmp_path / "rules")}],
        "embedding": {"bulk_backend": "onnx"},
    }
    settings = load_settings("test", environment={}, overrides=overrides)
    workspace = open_workspace(settings)
    workspace.ingest()
    before = workspace.searcher.search("wire transfer fee", HR, EVERYTHING, 5)
    workspace.close()
    shutil.rmtree(settings.data_dir / "lexical")
    workspace = open_workspace(settings)
    try:
        assert workspace.check("repair").missing_lexical == len(workspace.registry.chunk_pairs())
        again = workspace.searcher.search("wire transfer fee", HR, EVERYTHING, 5)
        assert [each.chunk_id for each in again] == [each.chunk_id for each in before]
        assert [each.lexical for each in again] == pytest.approx([each.lexical for each in before])
    finally:
        workspace.close()
