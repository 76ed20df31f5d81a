"""The few requests that a person's browser sends to Prefect's API, without Prefect's client."""

import base64
import json
import time
import urllib.error
import urllib.request
from typing import Any

PATIENCE_SECONDS = 90.0  # with a server that is being restarted


class PrefectApi:
    """`url` ends with `/api`; `login` is `user:password`."""

    def __init__(self, url: str, login: str) -> None:
        self._url = url
        self._headers = {
            "Content-Type": "application/json",
            "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
        }

    def run_deployment(self, name: str, parameters: dict[str, Any]) -> str:
        """What the button of the UI does; returns the flow run's id. `name` is `flow/deployment`."""
        deployment = self.ask(f"/deployments/name/{name}")
        made = self.ask(
            f"/deployments/{deployment['id']}/create_flow_run",
            {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": f"{name} {time.time()}"},
        )
        return str(made["id"])

    def flow_run(self, identifier: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask(f"/flow_runs/{identifier}")
        return found

    def states(self, identifier: str) -> list[str]:
        """Names of all states that the flow run has been in, in order."""
        return [str(state["name"]) for state in self.ask(f"/flow_run_states/?flow_run_id={identifier}")]

    def count(self, kind: str, document: dict[str, Any]) -> int:
        """How many flow runs or task runs a filter finds."""
        return int(self.ask(f"/{kind}/count", document))

    def ask(self, path: str, document: dict[str, Any] | None = None) -> Any:
        """Raises urllib's errors once patience is at its end."""
        data = None if document is None else json.dumps(document).encode()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            request = urllib.request.Request(self._url + path, data, self._headers)
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code < 500 or time.monotonic() > deadline:
                    raise
            except OSError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)
