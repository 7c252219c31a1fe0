"""The BentoML service `Assistant`: the HTTP API, and the Embedder and Generator services it depends on where so set.

BentoML imports this module in its parent process and in every worker, so nothing heavy may be imported at its top.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, cast

import bentoml

from bentos.commands import tell_the_operator
from bentos.draining import Draining
from bentos.embedder import Embedder
from bentos.entrance import Entrance, internal_paths
from bentos.generator import Generator
from bentos.opening import Jobs, Opening, open_workspace_and_jobs
from rag.errors import BankSightError
from rag.settings import load_settings

if TYPE_CHECKING:
    from rag.bootstrap import Workspace

settings = load_settings()
_LONGER_THAN_ANY_UPLOAD_SECONDS = 3600.0


entrance = Entrance()


def _end_if_asked(error: BankSightError) -> None:
    """Under `banksight serve` a service that cannot start ends and says why; elsewhere it answers 503 with that."""
    if tell_the_operator(error):
        os.kill(os.getppid(), signal.SIGTERM)


@bentoml.asgi_app(entrance)
@bentoml.service(
    workers=settings.server.workers,
    http={"host": settings.server.host, "port": settings.server.port},
    # Deadlines and the limit of requests in flight are the application's, which answers with problem documents.
    traffic={"timeout": _LONGER_THAN_ANY_UPLOAD_SECONDS},
    # We measure by route template. BentoML would label its metrics, and fill its access log, with the ids in paths.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    # BentoML makes a span of every ASGI message; together they cost more than a third of a search.
    tracing={"excluded_urls": ".*"},
)
class Assistant:
    """Answers questions about a bank's own documents, with page-exact citations."""

    if settings.embedding.serving == "service":
        embedder = bentoml.depends(Embedder)
    if settings.generation.in_generator:
        generator = bentoml.depends(Generator)

    def __init__(self) -> None:
        # Only workers need these, not BentoML's parent process.
        from bentos.application import create_app  # noqa: PLC0415
        from rag.operations.logging_setup import open_logging  # noqa: PLC0415
        from rag.operations.tracing import open_tracing  # noqa: PLC0415

        open_logging(settings, "assistant")
        self.end_tracing = open_tracing(settings.tracing, "banksight-assistant")
        self._generator_url = ""
        if settings.generation.in_generator:
            self._generator_url = str(cast(Any, self.generator).to_async.url)
            # BentoML would call us unready while the Generator is down, when the fallback answers. Its own reference
            # is not needed any more: `RemoteGenerator` speaks to the Generator's routes, which BentoML's client cannot.
            cast(Any, self).generator = None
        self.opening = Opening(settings, self._open, _end_if_asked, load_settings)
        self.draining = Draining(settings.server.drain_seconds, settings.server.drain_notice_seconds)
        self.draining.install()
        entrance.application = create_app(self.opening, self.draining)
        self.opening.start()

    def _open(self) -> tuple[Workspace, Jobs]:
        service: Any = Assistant  # the decorators make it a bentoml.Service, which knows where it is served
        embedder = getattr(self, "embedder", None)
        return open_workspace_and_jobs(
            settings, url=service.url or "", embedder=embedder, generator_url=self._generator_url
        )

    async def __is_ready__(self) -> bool:
        return self.opening.state == "open" and not self.draining.begun

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]  # BentoML does not say what it returns
    def close(self) -> None:
        """Give the data folder back, and send the last spans."""
        self.opening.close()
        self.end_tracing()


if settings.hides_internal_paths:
    cast(Any, Assistant).add_asgi_middleware(internal_paths)  # BentoML's own /schema.json never reaches our application
