"""Logging of Pixelmill's processes, on top of Prefect's: text for people, or a JSON object a line.

What lines are about is in fields, and secrets are masked in both forms.

Prefect configures logging when it is imported, from a file of its own or one that the user names, and later changes
levels only. Its handlers therefore stay: those that write to the console get our formatters, or, for JSON, are
replaced by a plain handler; all others, such as those that send logs to the API or into a user's file, keep their
format, with secrets masked.
"""

import io
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, TextIO

from typing_extensions import override

from configs.settings.privacy import Redactor, known_secrets
from configs.settings.settings import Settings, load_settings

FIELDS = ("worker", "flow_run", "task_run", "job", "shard", "step", "item")

_shared: dict[str, str] = {}  # for all threads of the process, which works at one thing at a time
_lock = threading.Lock()
_own: ContextVar[dict[str, str] | None] = ContextVar("pixelmill_log_fields", default=None)

TEXT_FIELDS = ("job", "shard", "step", "item")  # the others are in the line already, or the same in the whole log
TEXT_FORMAT = "%(asctime)s.%(msecs)03d | %(levelname)-7s | %(name)s - %(message)s"
MAX_EXCEPTION = 20_000  # characters

# Our field -> the attribute of Prefect's records.
_PREFECT_FIELDS = {"flow_run": "flow_run_id", "task_run": "task_run_name"}
FLOW_RUNS = "prefect.flow_runs"  # the logger of Prefect's flow runs
_DECIDED = ("prefect.exceptions.FailedRun", "prefect.exceptions.CancelledRun")
_INTERRUPTED = "Crash detected! Execution was aborted by an interrupt signal."
PACKAGES = ("configs", "storage", "steps", "gpu_worker", "flows")


# -- fields and lines --------------------------------------------------------------------------------------------------
@contextmanager
def shared_fields(**fields: str | int) -> Iterator[None]:
    """Add these fields to the log lines of all threads until the block ends."""
    given = {name: str(value) for name, value in fields.items()}
    with _lock:
        before = {name: _shared.get(name) for name in given}
        _shared.update(given)
    try:
        yield
    finally:
        with _lock:
            for name, value in before.items():
                if value is None:
                    _shared.pop(name, None)
                else:
                    _shared[name] = value


@contextmanager
def log_fields(**fields: str | int) -> Iterator[None]:
    """Add these fields to the log lines of this thread and of copies of its context, until the block ends."""
    token = _own.set({**(_own.get() or {}), **{name: str(value) for name, value in fields.items()}})
    try:
        yield
    finally:
        _own.reset(token)


def current_fields() -> dict[str, str]:
    """Return the fields that hold at the moment in this context."""
    return {**_shared, **(_own.get() or {})}


class Redacted(logging.Formatter):
    """Masks secrets in the lines of another formatter."""

    def __init__(self, inner: logging.Formatter | None, redact: Redactor) -> None:
        super().__init__()
        self.inner = inner or logging.Formatter()
        self._redact = redact

    @override
    def format(self, record: logging.LogRecord) -> str:
        return self._redact(self.inner.format(record))


class TextLines(Redacted):
    """Formats lines for people, with the fields after the message."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        about = " ".join(f"{name}={fields[name]}" for name in TEXT_FIELDS if name in fields)
        first, _, rest = self.inner.format(record).partition("\n")
        line = f"{first} [{about}]" if about else first
        return self._redact(f"{line}\n{rest}" if rest else line)


class JsonLines(logging.Formatter):
    """Formats one JSON object a line: time (UTC), level, logger, message, fields, exception."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    @override
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        line |= {name: self._redact(value) for name, value in fields_of(record).items()}
        exception = _exception(self, record)
        if exception:
            line["exception"] = self._redact(exception)[-MAX_EXCEPTION:]
        return json.dumps(line, ensure_ascii=False)


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """Return the fields of the record (`extra`), else those of the current context."""
    fields = current_fields()
    for name in FIELDS:
        value = getattr(record, name, None) or getattr(record, _PREFECT_FIELDS.get(name, name), None)
        if value is not None:
            fields[name] = str(value)
    return {name: fields[name] for name in FIELDS if name in fields}


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    """Return the traceback of the record's exception, else that in `extra={"trace": …}`, or nothing."""
    if record.exc_info and record.exc_info[0] is not None:
        return formatter.formatException(record.exc_info)
    return getattr(record, "trace", None) or record.exc_text or ""


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes each line in one piece, so that lines of several processes on one pipe stay apart."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            data = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
            try:
                descriptor = self.stream.fileno()
            except (OSError, ValueError, AttributeError):
                self.stream.write(data.decode())
                self.flush()
                return
            while data:
                data = data[os.write(descriptor, data) :]
        except Exception:
            self.handleError(record)


class PrintedLines(io.TextIOBase):
    """Replaces standard output or error, and turns prints into log lines."""

    def __init__(self, name: str, real: TextIO) -> None:
        self._logger = logging.getLogger(name)
        self._real = real
        self._of_thread = threading.local()

    @override
    def write(self, text: str) -> int:
        if getattr(self._of_thread, "logging", False):
            with suppress(OSError, ValueError):
                self._real.write(text)  # the error report of a failed log handler
            return len(text)
        # Progress bars go back to the start of their line instead of beginning a new one.
        *lines, rest = (getattr(self._of_thread, "rest", "") + text).replace("\r", "\n").split("\n")
        self._of_thread.rest = rest
        self._of_thread.logging = True
        try:
            for line in lines:
                if line.strip():
                    self._logger.info("%s", line)
        finally:
            self._of_thread.logging = False
        return len(text)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def buffer(self) -> BinaryIO:
        """The real stream's buffer, for code that prints bytes."""
        return self._real.buffer

    @override
    def writable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        return self._real.fileno()


# -- setup -------------------------------------------------------------------------------------------------------------
# Prefect looks handlers up by name when it changes levels, and starts from scratch if one is gone.
_replaced: list[logging.Handler] = []
_quiet = False


def use_logs(settings: Settings, *, quiet: bool = False, prints: bool = False) -> None:
    """Make all loggers of this process write in the format of the settings. Call again after importing Prefect.

    `quiet` limits a command whose output is for people to warnings from now on; a flow run's own log in Prefect has
    more. `prints` turns prints into log lines if the format is JSON.
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
            _attach(logger, handler, redact, as_json=settings.log_format == "json")
    if _quiet and os.environ.get("PREFECT_LOGGING_LEVEL") == "WARNING":
        _quiet_flow_runs()
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


def is_news(record: logging.LogRecord) -> bool:
    """Return False for the traceback of a flow that failed by its own decision, and for a crash that was Ctrl-C.

    Prefect logs the state with its message, raises at the end of the process, and logs that as if it were a bug.
    """
    kind = record.exc_info[0] if record.exc_info else None
    decided = kind is not None and f"{kind.__module__}.{kind.__name__}" in _DECIDED
    return not decided and not (record.msg == _INTERRUPTED and record.name.startswith("prefect"))


def _attach(logger: logging.Logger, handler: logging.Handler, redact: Redactor, *, as_json: bool) -> None:
    """Give the handler our formatter, or replace it by one that writes JSON lines."""
    handler.addFilter(is_news)
    if not _writes_to_console(handler):
        handler.setFormatter(Redacted(_inner(handler), redact))
    elif as_json and isinstance(handler, LineHandler):
        handler.setFormatter(JsonLines(redact))
    elif as_json:
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


def _quiet_flow_runs() -> None:
    """Keep messages of flow runs out of the terminal, but not out of their logs in Prefect."""
    logging.getLogger(FLOW_RUNS).setLevel(logging.INFO)
    for handler in logging.getLogger().handlers:
        if _writes_to_console(handler):
            handler.addFilter(_is_for_terminals)


def _is_for_terminals(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or record.name != FLOW_RUNS


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
