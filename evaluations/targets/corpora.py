"""The documents of a data set in a workspace of their own, ingested as users' documents are, and kept for next time."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.base import Page
from evaluations.datasets.beir import Collection, Rulebook, RulebookConnector, read_collection
from evaluations.datasets.items import DataSet, SourcePassage
from evaluations.datasets.loading import data_path
from evaluations.suites.schema import Corpus, DataSource
from evaluations.targets.base import Place
from rag.bootstrap import Workspace, open_workspace
from rag.errors import ConfigurationError, IndexMismatch
from rag.ingestion.run import Progress, Source
from rag.settings import Settings, load_settings

Show = Callable[[Progress], None]


@contextmanager
def opened(
    source: DataSource, data: DataSet, profile: str, overrides: Mapping[str, Any], cache: Path, show: Show
) -> Iterator[tuple[Workspace, Place]]:
    """A workspace that holds the corpus, and how its places are called in the labels. Closed at the end."""
    corpus = source.corpus
    folder = cache / folder_name(source)
    sources = _sources(corpus)
    settings = settings_of(profile, folder, overrides if sources is None else {**overrides, "sources": sources})
    workspace = _open(settings)
    try:
        if corpus.kind in {"profile", "folder"}:
            report = workspace.ingest(progress=show)
            if report.failed:
                first = report.failed[0]
                raise ConfigurationError(
                    f"{len(report.failed)} documents of {source.name} could not be read, first {first.uri}: "
                    f"{first.message or first.reason}"
                )
            yield workspace, _files(workspace)
        else:
            collection = _collection(source, data)
            if collection.rulebooks:
                connector = RulebookConnector(collection)
                workspace.ingest_from([Source(connector, corpus.collection)], show, mass_delete="allow")
            yield workspace, _passages(workspace, collection)
    finally:
        workspace.close()


def settings_of(profile: str, folder: Path, overrides: Mapping[str, Any]) -> Settings:
    """The profile as it ships, with its data in `folder`. The encoder that the installation exported is used again."""
    installed = load_settings()
    own = load_settings(profile, environment={}, overrides={**overrides, "data_dir": str(folder.resolve())})
    graphs = own.embedding.graph_dir or installed.embedding.graph_dir or str(installed.data_dir / "models")
    return own.model_copy(update={"embedding": own.embedding.model_copy(update={"graph_dir": graphs})})


def folder_name(source: DataSource) -> str:
    """What the corpus is kept under; data sets with the same one share a workspace."""
    corpus = source.corpus
    if corpus.kind == "profile":
        return "profile"
    if corpus.kind == "beir":
        return Path(source.path).name
    told = f"{source.path}\x00{corpus.model_dump_json()}"
    return f"{source.name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"


def _sources(corpus: Corpus) -> list[dict[str, Any]] | None:
    """The sources of the settings; None for those of the profile."""
    if corpus.kind == "profile":
        return None
    if corpus.kind == "folder":
        root = data_path(corpus.path, corpus.place).resolve()
        return [
            {"name": "evaluation", "collection": corpus.collection, "root": str(root), "include": list(corpus.include)}
        ]
    return []


def _open(settings: Settings) -> Workspace:
    """The workspace; one that an older version made is made anew."""
    try:
        return open_workspace(settings)
    except IndexMismatch:
        shutil.rmtree(settings.data_dir)
        return open_workspace(settings)


def _collection(source: DataSource, data: DataSet) -> Collection:
    if source.corpus.kind == "beir":
        return read_collection(data_path(source.path, source.place))
    return Collection(source.name, tuple(_rulebook(each) for each in data.passages), {}, {})


def _rulebook(passage: SourcePassage) -> Rulebook:
    title = passage.title or " ".join(passage.text.split())[:60]
    name = hashlib.sha256(passage.key.encode()).hexdigest()[:12]
    page = Page(1, passage.text, 0, "", ())
    return Rulebook(name, title, (passage.key,), (page,), (passage.access,) if passage.access else ())


def _files(workspace: Workspace) -> Place:
    stems = {document.id: Path(document.uri.removeprefix("file:")).stem for document in workspace.registry.documents()}

    def place(document_id: str, page: int) -> tuple[str, str]:
        stem = stems.get(document_id, "")
        return f"{stem} {page}", stem

    return place


def _passages(workspace: Workspace, collection: Collection) -> Place:
    passage_ids = {rulebook.name: rulebook.passage_ids for rulebook in collection.rulebooks}
    names = {document.id: document.uri for document in workspace.registry.documents()}

    def place(document_id: str, page: int) -> tuple[str, str]:
        name = names.get(document_id, "")
        return passage_ids[name][page - 1], name

    return place
