"""What log lines are about, and how they read: text for people, or a JSON object a line. Secrets are masked in both."""

import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, BinaryIO, TextIO

from typing_extensions import override

from configs.settings.privacy import Redactor

FIELDS = ("worker", "flow_run", "task_run", "job", "shard", "step", "item")

_shared: dict[str, str] = {}  # for all threads of the process, which works at one thing at a time
_lock = threading.Lock()
_own: ContextVar[dict[str, str] | None] = ContextVar("pixelmill_log_fields", default=None)


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


TEXT_FIELDS = ("job", "shard", "step", "item")  # the others are in the line already, or the same in the whole log
TEXT_FORMAT = "%(asctime)s.%(msecs)03d | %(levelname)-7s | %(name)s - %(message)s"
MAX_EXCEPTION = 20_000  # characters

# Our field -> the attribute of Prefect's records.
_PREFECT_FIELDS = {"flow_run": "flow_run_id", "task_run": "task_run_name"}


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
