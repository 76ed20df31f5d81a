"""A headless Chromium, driven over its DevTools protocol: enough to open a page, use it and ask it questions."""

import base64
import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
START_SECONDS = 60
WAIT_SECONDS = 20

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--window-size=1400,1000",
)

# Without a GPU, WebGL is computed: a run's page in Prefect's UI draws its graph anew all the time, which takes a core.
_NO_WEBGL = "--disable-software-rasterizer"


def find_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. `errors` collects what the page's scripts threw and what its security policy refused."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last_id = 0
        self.errors: list[str] = []
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._command(f"{domain}.enable")

    def open(self, path: Path, fragment: str = "") -> None:
        self._command("Page.navigate", {"url": "about:blank"})  # else another fragment would not load the page anew
        self._command("Page.navigate", {"url": path.as_uri() + fragment})
        self.wait(f"location.href.startsWith({json.dumps(path.as_uri())}) && document.readyState === 'complete'")

    def visit(self, address: str) -> None:
        self._command("Page.navigate", {"url": address})
        self.wait(f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'")

    def screenshot(self, path: Path) -> None:
        data = self._command("Page.captureScreenshot", {"format": "png"})["data"]
        path.write_bytes(base64.b64decode(data))

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._command("Emulation.setDeviceMetricsOverride", size)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self._command(
            "Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True}
        )
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = WAIT_SECONDS) -> None:
        """Returns when the JavaScript condition holds; fails the test when it does not come to."""
        timer = threading.Event()
        for _ in range(int(seconds * 20)):
            try:
                if self.ask(f"Boolean({condition})"):
                    return
            except AssertionError:
                pass  # the page is between two documents
            timer.wait(0.05)
        raise AssertionError(f"the page never came to: {condition}; errors: {self.errors}")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self._command("Input.dispatchKeyEvent", {"type": kind, "key": key, "code": key, **_KEY_CODES.get(key, {})})

    def type(self, text: str) -> None:
        self._command("Input.insertText", {"text": text})

    def click(self, selector: str) -> None:
        self.ask(f"document.querySelector({json.dumps(selector)}).click()")

    def texts(self, selector: str) -> list[str]:
        return list(self.ask(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => node.textContent)"))

    def _command(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._call(method, parameters, self._session)

    def _call(
        self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None
    ) -> dict[str, Any]:
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=WAIT_SECONDS))
            if answer.get("id") == self._last_id:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"].get("exception", {}).get("description")))
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")


_KEY_CODES = {
    "Escape": {"windowsVirtualKeyCode": 27},
    "ArrowLeft": {"windowsVirtualKeyCode": 37},
    "ArrowRight": {"windowsVirtualKeyCode": 39},
}


@contextmanager
def open_page(chromium: str, *, webgl: bool = False) -> Iterator[Page]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [chromium, *_FLAGS, *([] if webgl else [_NO_WEBGL]), f"--user-data-dir={profile}"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        try:
            address = _devtools_address(process)
            watchdog.cancel()
            # Nobody reads on: a full pipe would stop the browser.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            with connect(address, max_size=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            watchdog.cancel()
            process.terminate()
            process.wait(timeout=20)


def _devtools_address(process: subprocess.Popen[str]) -> str:
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "DevTools listening on " in line:
            return line.split("DevTools listening on ")[1].strip()
    raise AssertionError("Chromium did not start:\n" + "".join(lines))
