"""The BentoML service `Generator`: the language model in a process of its own, for all Assistant processes.

BentoML imports this module in its parent process and in every worker, so nothing heavy may be imported at its top.
It is for the machine's own processes, never for a public port: whoever reaches it can make the model write anything.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import bentoml
from pydantic import Field

from bentos.draining import Draining
from bentos.entrance import Entrance
from rag.errors import BankSightError, ConfigurationError, ModelError
from rag.settings import load_settings

if TYPE_CHECKING:
    from rag.models.engine import Engine

logger = logging.getLogger(__name__)
settings = load_settings()

MAX_PROMPTS: Final = 64  # of one bulk request
_BULK_SECONDS: Final = 3600.0  # for one bulk request, waiting included: evaluations are not in a hurry
Prompts = Annotated[list[str], Field(max_length=MAX_PROMPTS)]
entrance = Entrance()


@bentoml.asgi_app(entrance)
@bentoml.service(
    name="Generator",
    workers=1,  # one copy of the weights
    traffic={"timeout": _BULK_SECONDS},
    # Otherwise a client of `bentoml.depends` closes its connections every 100 requests, while others are in flight, and
    # those are lost (bentoml/BentoML#5540). `max_age` must be a float.
    runner_connection={"max_requests": 10**9, "max_age": 1e9},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},  # a span of every ASGI message would be one of every token
)
class Generator:
    """Streams text for many at once: see `bentos/generation_routes.py`. Queue, deadlines and slots are the engine's."""

    def __init__(self) -> None:
        # Only workers need these, not BentoML's parent process.
        from bentos.generation_routes import create_app  # noqa: PLC0415
        from rag.operations.logging_setup import open_logging  # noqa: PLC0415
        from rag.operations.tracing import open_tracing  # noqa: PLC0415

        open_logging(settings, "generator")
        self.end_tracing = open_tracing(settings.tracing, "banksight-generator")
        # In the background: while a BentoML service is not made, its callers hang instead of being told.
        self._opening: Future[Engine] = ThreadPoolExecutor(1, thread_name_prefix="opening").submit(_open)
        draining = Draining(settings.server.deadline_seconds)
        draining.install()
        entrance.application = create_app(self._opening, draining)

    @bentoml.api(batchable=True, max_batch_size=MAX_PROMPTS, max_latency_ms=int(_BULK_SECONDS * 1000))  # type: ignore[untyped-decorator]  # BentoML does not say what it returns
    async def complete(self, prompts: Prompts) -> list[str]:
        """The whole text for each prompt, for evaluation runs: as configured, as many at once as there are slots.

        An engine that fails makes the request fail. Questions of people come first only as far as slots are free.
        """
        from rag.models.bulk import complete_all  # noqa: PLC0415
        from rag.models.llms import decoding_of  # noqa: PLC0415

        engine = await asyncio.wrap_future(self._opening)
        return await complete_all(engine, prompts, decoding_of(settings.generation), _BULK_SECONDS)

    async def __is_ready__(self) -> bool:
        return self._opening.done() and self._opening.exception() is None

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        """Give the model's memory back, and send the last spans."""
        if await self.__is_ready__():
            await self._opening.result().close()
        await asyncio.to_thread(self.end_tracing)


def _open() -> Engine:
    # These take seconds to import, in which the server can already answer probes.
    from rag.models.llms import open_named  # noqa: PLC0415
    from rag.models.places import verified_folder  # noqa: PLC0415

    name = settings.generation.in_generator
    try:
        if name is None:
            raise ConfigurationError(
                "generation names no engine that the Generator can hold: set generation.engine to mistral and "
                "generation.serving to service, or do not start it"
            )
        engine = open_named(name, settings.generation, partial(verified_folder, settings=settings))
    except BankSightError as error:
        logger.error("the Generator cannot start, and says so to its callers until it is restarted: %s", error)
        raise
    except Exception as error:
        logger.exception("the Generator cannot start, and says so to its callers until it is restarted")
        raise ModelError("the language model could not be loaded; look at the Generator's log") from error
    else:
        logger.info("the engine %s is ready", name)
        return engine
