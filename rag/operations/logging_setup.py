"""Where a process of a service logs: standard error, and a file for each day where `logging.dir` names a folder."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Final

from rag.operations.logging_files import DailyFile
from rag.operations.logging_form import HumanLines, JsonLines
from rag.settings import Settings

OURS: Final = ("rag", "bentos", "connectors")
# These bring handlers of their own, or are configured by BentoML; now they speak through ours.
_THEIRS: Final = ("bentoml", "circus", "uvicorn", "uvicorn.error", "uvicorn.access", "py.warnings")
logger = logging.getLogger(__name__)


def open_logging(settings: Settings, service: str) -> None:
    """Everything that this process logs goes to our handlers, in our form. Raises `ConfigurationError`.

    For processes that serve; a command keeps its plain words.
    """
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for new in handlers(settings, service):
        root.addHandler(new)
    root.setLevel(logging.WARNING)
    for name in _THEIRS:
        theirs = logging.getLogger(name)
        theirs.handlers.clear()
        theirs.propagate = True
    for name in OURS:
        logging.getLogger(name).setLevel(settings.logging.level)
    logging.captureWarnings(capture=True)
    if settings.logging.form == "json":
        _log_what_nobody_caught()


def handlers(settings: Settings, service: str) -> list[logging.Handler]:
    """Those that the settings ask for. Raises `ConfigurationError` when the folder of files cannot be written."""
    error_stream = logging.StreamHandler(sys.stderr)
    error_stream.setFormatter(JsonLines(service) if settings.logging.form == "json" else HumanLines())
    if settings.log_dir is None:
        return [error_stream]
    file = DailyFile(settings.log_dir, settings.logging.keep_days)
    file.setFormatter(JsonLines(service))
    return [error_stream, file]


def _log_what_nobody_caught() -> None:
    """Python would print a traceback of many lines, with the exception's message."""

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            logger.critical("the process ends by an error that nobody caught", exc_info=(kind, error, trace))

    def thread_ended(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            trouble = (args.exc_type, args.exc_value, args.exc_traceback)
            logger.error("a thread ended by an error that nobody caught", exc_info=trouble)

    sys.excepthook = ended
    threading.excepthook = thread_ended
