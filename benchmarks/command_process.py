"""A resident `pixelmill` command: `python -m benchmarks.command_process`, one command after another.

What a benchmark measures through it lacks the start of a process, which another benchmark measures alone. It reads
commands (JSON lists of arguments) from standard input and writes to what was its standard output, one JSON object a
line: `{"ready": true}` first, then `{"status": …, "document": …, "started": …, "ended": …}` for each command.
"""

import io
import json
import os
import sys
import time
from contextlib import redirect_stdout


def main() -> None:
    """Serves until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import flows.burst
    import flows.run_job  # noqa: F401 - what `run` would import after its clock has started
    from flows.cli import app

    _send(replies, {"ready": True})
    for line in sys.stdin:
        output = io.StringIO()
        started = time.time()
        with redirect_stdout(output):
            status = app(json.loads(line), prog_name="pixelmill", standalone_mode=False)
        ended = time.time()
        document = json.loads(output.getvalue() or "null")
        _send(replies, {"status": status or 0, "document": document, "started": started, "ended": ended})


def _send(replies: io.TextIOBase | io.TextIOWrapper, message: dict[str, object]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
