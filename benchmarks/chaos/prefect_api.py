"""The few requests to a Prefect server that a fault test makes itself, without Prefect's client."""

import json
import time
import urllib.error
import urllib.request
from typing import Any

BUSY_SECONDS = 30.0  # a server on SQLite answers 503 while its database is busy


class PrefectApi:
    """`url` ends with `/api`. A busy server is asked again for a while; then urllib's errors are raised."""

    def __init__(self, url: str) -> None:
        self.url = url

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2):
                return True
        except OSError:
            return False

    def running_shards(self) -> list[dict[str, Any]]:
        """The flow runs of shards that a worker is at."""
        wanted = {"flows": {"name": {"any_": ["shard"]}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
        found: list[dict[str, Any]] = self._post("/flow_runs/filter", wanted)
        return found

    def submit_again(self, flow_run: dict[str, Any]) -> str:
        """A second flow run of the same deployment with the same parameters; returns its id."""
        copy = {"parameters": flow_run["parameters"], "tags": flow_run["tags"], "name": f"{flow_run['name']} again"}
        # The key makes asking twice harmless.
        copy |= {"state": {"type": "SCHEDULED"}, "idempotency_key": f"again {flow_run['id']}"}
        made = self._post(f"/deployments/{flow_run['deployment_id']}/create_flow_run", copy)
        return str(made["id"])

    def wait_until_taken(self, flow_run_id: str, seconds: float) -> str:
        """Waits until a worker has the flow run; returns the state's type, SCHEDULED if none came for it."""
        deadline = time.monotonic() + seconds
        while (state := self.state_of(flow_run_id)) in ("SCHEDULED", "PENDING") and time.monotonic() < deadline:
            time.sleep(0.1)
        return state

    def state_of(self, flow_run_id: str) -> str:
        """The type of its state."""
        return str(self._flow_run(flow_run_id)["state_type"])

    def infrastructure_of(self, flow_run_id: str) -> str:
        """`host:number` of the process that runs it."""
        return str(self._flow_run(flow_run_id)["infrastructure_pid"])

    def _flow_run(self, flow_run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self._ask(f"/flow_runs/{flow_run_id}")
        return run

    def _post(self, path: str, document: dict[str, Any]) -> Any:
        return self._ask(path, json.dumps(document).encode())

    def _ask(self, path: str, data: bytes | None = None) -> Any:
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code < 500 or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)
