"""A resident `pixelmill` command: `python -m benchmarks.command_process` runs one command after another.

What is measured through it lacks the start of a process, which B5 measures. A request is `{"arguments": […]}`, a reply
`{"status": …, "document": …, "started": …, "ended": …}` with what the command printed and times of `time.time()`.
"""

import io
import json
import time
from collections.abc import Callable
from contextlib import redirect_stdout

from benchmarks.resident import Message, serve


def prepare() -> Callable[[Message], Message]:
    """Imports what a command would import after its clock has started."""
    import flows.burst.burst
    import flows.burst.run_job  # noqa: F401
    from flows.cli.main import app

    def answer(request: Message) -> Message:
        output = io.StringIO()
        started = time.time()
        with redirect_stdout(output):
            status = app(request["arguments"], prog_name="pixelmill", standalone_mode=False)
        ended = time.time()
        document = json.loads(output.getvalue() or "null")
        return {"status": status or 0, "document": document, "started": started, "ended": ended}

    return answer


if __name__ == "__main__":
    serve(prepare)
