"""From the names of sources to open connectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from connectors.base import Connector
from connectors.parsing import ParsingLimits, ParsingSandbox
from connectors.registry import open_connector
from rag.errors import ConfigurationError
from rag.ingestion import uploads
from rag.ingestion.run import Source
from rag.settings import Settings, SourceSettings


@contextmanager
def opened_sources(settings: Settings, names: Sequence[str] | None) -> Iterator[list[Source]]:
    """The sources with these names, or all, closed at the end; `uploads` means all folders of uploaded files.

    Raises `ConfigurationError` for an unknown name. Processes that parse start when the first document is read.
    """
    chosen = _choose(settings.sources + uploads.sources(settings.files_dir), names)
    with closing(ParsingSandbox(_limits(settings), settings.parsing.workers)) as sandbox:
        opened = [Source(_connector(source, sandbox, settings), source.collection) for source in chosen]
        try:
            yield opened
        finally:
            for source in opened:
                source.connector.close()


def _choose(known: tuple[SourceSettings, ...], names: Sequence[str] | None) -> list[SourceSettings]:
    if names is None:
        return list(known)
    chosen = [each for each in known if each.name in names or (uploads.is_upload(each.name) and "uploads" in names)]
    unknown = set(names) - {each.name for each in known} - {"uploads"}
    if unknown:
        there = ", ".join(each.name for each in known) or "none"
        raise ConfigurationError(f"unknown source {', '.join(sorted(unknown))}; configured sources: {there}")
    return chosen


def _connector(source: SourceSettings, sandbox: ParsingSandbox, settings: Settings) -> Connector:
    return open_connector(
        source.kind,
        source=source.name,
        root=source.root,
        include=source.include,
        exclude=source.exclude,
        sandbox=sandbox,
        max_bytes=settings.parsing.max_bytes,
    )


def _limits(settings: Settings) -> ParsingLimits:
    parsing = settings.parsing
    return ParsingLimits(
        parsing.timeout_seconds, parsing.memory_mib, parsing.max_bytes, parsing.max_pages, parsing.max_characters
    )
