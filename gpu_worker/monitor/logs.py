"""Logging setup for Pixelmill's processes, on top of Prefect's.

Prefect configures logging when it is imported, from a file of its own or one that the user names, and later changes
levels only. Its handlers therefore stay: those that write to the console get our formatters, or, for JSON, are
replaced by a plain handler; all others, such as those that send logs to the API or into a user's file, keep their
format, with secrets masked.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from configs.settings.privacy import Redactor, known_secrets
from configs.settings.settings import Settings, load_settings
from gpu_worker.monitor.log_lines import TEXT_FORMAT, JsonLines, LineHandler, PrintedLines, Redacted, TextLines

PACKAGES = ("configs", "storage", "steps", "gpu_worker", "flows")

# Prefect looks handlers up by name when it changes levels, and starts from scratch if one is gone.
_replaced: list[logging.Handler] = []
_quiet = False


def use_logs(settings: Settings, *, quiet: bool = False, prints: bool = False) -> None:
    """Make all loggers of this process write in the format of the settings. Call again after importing Prefect.

    `quiet` limits a command whose output is for people to warnings from now on. `prints` turns prints into log lines
    if the format is JSON.
    """
    global _quiet  # noqa: PLW0603 - a process has one way to log
    _quiet = _quiet or quiet
    redact = Redactor(known_secrets(settings, os.environ))
    if "prefect" in sys.modules:
        from prefect.logging.configuration import ensure_logging_setup

        ensure_logging_setup()
    root = logging.getLogger()
    if settings.log_format == "json" and not any(_writes_to_console(handler) for handler in root.handlers):
        root.addHandler(LineHandler(sys.stderr))
    elif logging.lastResort is not None:
        # It writes as long as there is no other: Prefect, if it is imported later, then still sets up its own.
        logging.lastResort.setFormatter(Redacted(logging.Formatter(TEXT_FORMAT, "%H:%M:%S"), redact))
    for logger in _loggers():
        for handler in list(logger.handlers):
            _attach(logger, handler, redact, json=settings.log_format == "json")
    wanted = logging.getLevelNamesMapping()[settings.log_level.upper()]
    level = max(logging.WARNING, wanted) if _quiet else wanted
    for package in PACKAGES:
        logging.getLogger(package).setLevel(level)
    if settings.log_format == "json":
        _log_the_rest(prints=prints)
    else:
        sys.excepthook = lambda *error: _print_uncaught(redact, *error)
        threading.excepthook = lambda args: _print_uncaught(redact, args.exc_type, args.exc_value, args.exc_traceback)


def prefect_environment(settings: Settings) -> dict[str, str]:
    """Return environment variables that make Prefect's own processes log in the format of the settings."""
    if settings.log_format == "text":
        return {}
    return {"PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS": f"{PrefectJsonConsole.__module__}.{PrefectJsonConsole.__name__}"}


class PrefectJsonConsole(LineHandler):
    """A console handler for Prefect's logging configuration that always writes JSON."""

    def __init__(self, stream: Any = None, styles: Mapping[str, str] | None = None) -> None:  # noqa: ARG002
        super().__init__(stream)
        redact = Redactor(known_secrets(load_settings(), os.environ))
        super().setFormatter(JsonLines(redact))

    def setFormatter(self, fmt: logging.Formatter | None) -> None:
        """Set a formatter that masks secrets too; ignore others."""
        if isinstance(fmt, JsonLines | Redacted):
            super().setFormatter(fmt)


def _attach(logger: logging.Logger, handler: logging.Handler, redact: Redactor, *, json: bool) -> None:
    """Give the handler our formatter, or replace it by one that writes JSON lines."""
    if not _writes_to_console(handler):
        handler.setFormatter(Redacted(_inner(handler), redact))
    elif json and isinstance(handler, LineHandler):
        handler.setFormatter(JsonLines(redact))
    elif json:
        assert isinstance(handler, logging.StreamHandler)
        plain = LineHandler(handler.stream)
        plain.setLevel(handler.level)
        plain.setFormatter(JsonLines(redact))
        for each in handler.filters:
            plain.addFilter(each)
        logger.removeHandler(handler)
        logger.addHandler(plain)
        _replaced.append(handler)
    else:
        handler.setFormatter(TextLines(_inner(handler), redact))


def _inner(handler: logging.Handler) -> logging.Formatter | None:
    formatter = handler.formatter
    return formatter.inner if isinstance(formatter, Redacted) else formatter


def _writes_to_console(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and getattr(handler.stream, "name", None) in (
        "<stderr>",
        "<stdout>",
    )


def _loggers() -> Iterable[logging.Logger]:
    known = list(logging.Logger.manager.loggerDict.values())
    return [logging.getLogger(), *(logger for logger in known if isinstance(logger, logging.Logger))]


def _log_the_rest(*, prints: bool) -> None:
    """Log what would come out as plain lines: warnings, uncaught errors and prints."""
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    if prints:
        for name in ("stdout", "stderr"):
            real = getattr(sys, f"__{name}__")
            if real is not None and getattr(sys, name) is real:
                setattr(sys, name, PrintedLines(name, real))
        for name in ("stdout", "stderr"):
            logging.getLogger(name).setLevel(logging.INFO)


def _print_uncaught(
    redact: Redactor, kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if not issubclass(kind, SystemExit) and sys.stderr is not None:
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, SystemExit):
        return
    logging.getLogger("gpu_worker").critical("uncaught %s", kind.__name__, exc_info=(kind, error or kind(), trace))
