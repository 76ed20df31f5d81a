"""Log lines: what they are about, as text and as JSON, on top of Prefect's own logging, and never a secret."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.exceptions import CancelledRun, FailedRun
from prefect.states import exception_to_crashed_state
from pydantic import SecretStr

from configs.settings.privacy import Redactor, known_secrets
from configs.settings.settings import Settings
from gpu_worker.monitor.failures import without_secrets
from gpu_worker.monitor.logs import (
    JsonLines,
    PrintedLines,
    TextLines,
    current_fields,
    is_news,
    log_fields,
    shared_fields,
)
from tests.support import ROOT
from tests.support.fake_steps import Fill, items
from tests.support.mill import Mill, resolved

PASSWORD = 'p"w\\d-Äß-secret'


def record(message: str, *arguments: object, error: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    made = logging.LogRecord("gpu_worker.test", logging.WARNING, __file__, 1, message, arguments, info)
    made.__dict__.update(extra)
    return made


def as_json(made: logging.LogRecord, *secrets: str) -> dict[str, Any]:
    line = JsonLines(Redactor(secrets)).format(made)
    assert "\n" not in line
    return json.loads(line)


# -- what a line is about ----------------------------------------------------------------------------------------------
def test_fields_hold_until_their_block_ends() -> None:
    with shared_fields(job="a", shard=1), log_fields(step="made"):
        with log_fields(item="potion"), shared_fields(job="b"):
            assert current_fields() == {"job": "b", "shard": "1", "step": "made", "item": "potion"}
        assert current_fields() == {"job": "a", "shard": "1", "step": "made"}
    assert current_fields() == {}


def test_threads_share_the_job_and_not_the_item() -> None:
    with shared_fields(job="a"), log_fields(item="potion"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(current_fields).result() == {"job": "a"}


def test_a_line_says_what_it_is_about() -> None:
    with shared_fields(worker="w", job="icons-1", shard=3), log_fields(step="cutout"):
        made = record("no %s", "mask", item="red potion", flow_run_id="f-1", task_run_name="cutout shard 3 chunk 0")
        document = as_json(made)
        line = TextLines(None, Redactor()).format(made)
    assert document.pop("time").endswith("Z")
    assert document == {
        "level": "WARNING",
        "logger": "gpu_worker.test",
        "message": "no mask",
        "worker": "w",
        "flow_run": "f-1",
        "task_run": "cutout shard 3 chunk 0",
        "job": "icons-1",
        "shard": "3",
        "step": "cutout",
        "item": "red potion",
    }
    assert line == "no mask [job=icons-1 shard=3 step=cutout item=red potion]"


def test_an_exception_is_a_field_and_in_text_stands_below() -> None:
    try:
        raise ValueError("as intended")
    except ValueError as error:
        made = record("failed", error=error, item="potion")
    assert "ValueError: as intended" in as_json(made)["exception"]
    first, *rest = TextLines(None, Redactor()).format(made).splitlines()
    assert first == "failed [item=potion]"
    assert rest[-1] == "ValueError: as intended"


def test_a_failed_item_is_named_with_its_step_and_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    steps = [resolved("made", Fill(fail=("i1",)))]
    caplog.handler.setFormatter(JsonLines(Redactor()))
    Mill(tmp_path, steps, items(3)).run()
    (line,) = [json.loads(line) for line in caplog.text.splitlines() if "item failed" in line]
    assert (line["job"], line["shard"], line["step"], line["item"]) == ("job", "0", "made", "i1")
    assert "cannot fill i1" in line["message"]
    assert "Traceback" in line["exception"]
    assert current_fields() == {}


def test_an_image_that_cannot_be_encoded_names_its_item(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(JsonLines(Redactor()))
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: object) -> None:
            raise ValueError("no room in the header")

        patch.setattr("gpu_worker.shard.writer.store_artefact", refuse)
        Mill(tmp_path, [resolved("made", Fill())], items(1)).run()
    (line,) = [json.loads(line) for line in caplog.text.splitlines() if "item failed" in line]
    assert (line["step"], line["item"]) == ("made", "i0")


def test_what_is_printed_becomes_lines(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level("INFO", "stdout")
    printed = PrintedLines("stdout", sys.stdout)
    print("one\ntwo", file=printed)
    print("half a ", end="", file=printed)
    print("line\rprogress 100 %", file=printed)
    assert caplog.messages == ["one", "two", "half a line", "progress 100 %"]
    assert capsys.readouterr().out == ""


def test_a_log_handler_that_prints_does_not_go_round_in_circles(capsys: pytest.CaptureFixture[str]) -> None:
    printed = PrintedLines("circle", sys.stdout)
    handler = logging.StreamHandler(printed)
    logger = logging.getLogger("circle")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        print("once", file=printed)
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().out == "once\n"


# -- secrets -----------------------------------------------------------------------------------------------------------
SETTINGS = Settings(
    ledger_url=SecretStr("postgresql://mill:s3cr%2Ft-word@db.example/mill"),
    webhook_url="https://hooks.example/services/T024F/B9X/x7KqWm2Z",
    webhook_secret=SecretStr("signing-secret"),
)
ENVIRONMENT = {
    "AWS_SECRET_ACCESS_KEY": PASSWORD,
    "AWS_SESSION_TOKEN": "FwoGZXIvYXdzEXAMPLE",
    "PIXELMILL_WEBHOOK_SECRET": "hook-secret",
    "PREFECT_API_AUTH_STRING": "admin:opensesame",
    "PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://prefect:dbsecret@db/prefect",
    "HF_TOKEN": "hf_abcdefgh",
    "TOKENIZERS_PARALLELISM": "disabled",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
    "PIXELMILL_HOME": "/srv/pixelmill",
}
SECRETS = (
    "s3cr%2Ft-word", "s3cr/t-word", PASSWORD, "FwoGZXIvYXdzEXAMPLE", "hook-secret", "opensesame", "dbsecret",
    "hf_abcdefgh", "signing-secret", "services/T024F/B9X/x7KqWm2Z",
)  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_gets_into_a_line(secret: str) -> None:
    redact = Redactor(known_secrets(SETTINGS, ENVIRONMENT))
    try:
        raise ValueError({"secret": secret})
    except ValueError as error:
        made = record("told %s and %r", secret, {"of": secret}, error=error, item=f"item-{secret}")
    lines = [JsonLines(redact).format(made), TextLines(None, redact).format(made)]
    for form in {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]}:
        for line in lines:
            assert form not in line
    assert json.loads(lines[0])["message"].count("***") == 2


def test_what_is_no_secret_stays() -> None:
    redact = Redactor(known_secrets(SETTINGS, ENVIRONMENT))
    for text in ("disabled", "/srv/pixelmill", "/var/run/token", "db.example", "mill", "as intended"):
        assert redact(text) == text


def test_a_password_that_is_our_name_does_not_blacken_the_log() -> None:
    settings = Settings(ledger_url=SecretStr("postgresql://pixelmill:pixelmill@db/pixelmill"))
    redact = Redactor(known_secrets(settings, {}))
    assert redact("`pixelmill resume` goes on") == "`pixelmill resume` goes on"
    assert redact("postgresql://pixelmill:pixelmill@db/pixelmill") == "postgresql://***@db/pixelmill"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://me:pass@host/db", "postgresql://***@host/db"),
        ("https://s3/x?X-Amz-Signature=abc&y=1", "https://s3/x?***"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key AKIA*** used"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ("{'authorization': 'Basic YTpi', 'x': 1}", "{'authorization': '***', 'x': 1}"),
        ("http://127.0.0.1:4200/api and a@b.example", "http://127.0.0.1:4200/api and a@b.example"),
    ],
)
def test_what_looks_like_a_secret_is_masked_without_being_known(text: str, masked: str) -> None:
    assert without_secrets(text) == Redactor()(text) == masked


@given(st.text(min_size=6).filter(lambda text: "*" not in text), st.text(), st.text())
def test_a_known_secret_never_survives(secret: str, before: str, after: str) -> None:
    assert secret not in Redactor([secret])(f"{before}{secret}{after}").replace("***", "")


# -- on top of Prefect -------------------------------------------------------------------------------------------------
PROGRAM = """
import logging, sys, threading, warnings
from configs.settings.settings import load_settings
from gpu_worker.monitor.logs import use_logs
from gpu_worker.monitor.logs import shared_fields
BEFORE
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
settings = load_settings()
use_logs(settings, prints=True)
setup_logging()  # as Prefect's command line does once more
use_logs(settings, prints=True)
with shared_fields(job="icons-1"):
    get_logger("worker").info("from Prefect")
    about = {"flow_run_id": "f-1", "flow_run_name": "big-fox", "send_to_api": False}
    get_logger("flow_runs").error("of a run", extra=about)
    logging.getLogger("gpu_worker.x").info("from us :bug: \\t%s", "hunter2-secret")
    logging.getLogger("boto3").info("chatter")
    logging.getLogger("uvicorn").warning("from the server")
    warnings.warn("be careful")
    print("printed")
    sys.stdout.flush()
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError("the end, says hunter2-secret")
"""


def run(program: str = PROGRAM, environment: Mapping[str, str] | None = None, *, before: str = "") -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PIXELMILL_"))}
    kept |= {"AWS_SECRET_ACCESS_KEY": "hunter2-secret", "PYTHONPATH": str(ROOT), **(environment or {})}
    done = subprocess.run(
        [sys.executable, "-c", program.replace("BEFORE", before)],
        env=kept, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "hunter2-secret" not in done.stderr + done.stdout
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.e2e
@pytest.mark.parametrize("before", ["", "use_logs(load_settings())"], ids=["after Prefect", "before Prefect"])
def test_every_line_is_an_object(before: str) -> None:
    documents = [json.loads(line) for line in run(environment={"PIXELMILL_LOG_FORMAT": "json"}, before=before)]
    by_logger = {document["logger"]: document for document in documents}
    messages = [document["message"] for document in documents]
    assert len(messages) == len(set(messages))
    assert "chatter" not in messages
    assert by_logger["prefect.worker"]["message"] == "from Prefect"
    assert by_logger["prefect.flow_runs"]["flow_run"] == "f-1"
    assert by_logger["gpu_worker.x"]["message"] == "from us :bug: \t***"
    assert by_logger["gpu_worker.x"]["job"] == "icons-1"
    assert by_logger["uvicorn"]["level"] == "WARNING"
    assert "be careful" in by_logger["py.warnings"]["message"]
    assert by_logger["stdout"]["message"] == "printed"
    assert ["ZeroDivisionError" in messages[-2], "RuntimeError" in messages[-1]] == [True, True]
    assert "the end, says ***" in documents[-1]["exception"]


@pytest.mark.e2e
def test_text_stays_as_prefect_writes_it_with_what_it_is_about() -> None:
    lines = run(environment={"PREFECT_LOGGING_COLORS": "0"})
    assert any(line.endswith("| INFO    | prefect.worker - from Prefect [job=icons-1]") for line in lines)
    assert any(line.endswith("| ERROR   | Flow run 'big-fox' - of a run [job=icons-1]") for line in lines)
    assert "printed" in lines


@pytest.mark.e2e
def test_a_logging_file_of_the_user_is_kept(tmp_path: Path) -> None:
    (tmp_path / "logging.yml").write_text(
        "version: 1\ndisable_existing_loggers: false\n"
        "formatters: {mine: {format: 'MINE %(message)s'}}\n"
        f"handlers: {{file: {{class: logging.FileHandler, filename: {tmp_path / 'log'}, formatter: mine}}}}\n"
        "root: {level: INFO, handlers: [file]}\n"
    )
    run(environment={"PREFECT_LOGGING_SETTINGS_PATH": str(tmp_path / "logging.yml")})
    written = (tmp_path / "log").read_text()
    assert "MINE from Prefect" in written.splitlines()
    assert "hunter2-secret" not in written


@pytest.mark.e2e
def test_a_process_of_prefect_alone_writes_json_too() -> None:
    settings = Settings(log_format="json")
    from gpu_worker.monitor.logs import prefect_environment

    assert prefect_environment(Settings()) == {}
    program = (
        "import prefect.main\nfrom prefect.logging import get_logger\nget_logger('runner').info('hunter2-secret :bug:')"
    )
    (line,) = run(program, prefect_environment(settings))
    assert (json.loads(line)["logger"], json.loads(line)["message"]) == ("prefect.runner", "*** :bug:")


@pytest.mark.e2e
def test_what_is_sent_to_the_api_holds_no_secret() -> None:
    program = (
        "from configs.settings.settings import Settings\n"
        "from gpu_worker.monitor.logs import use_logs\nimport prefect.main\n"
        "from prefect.logging.handlers import set_api_log_sink\nfrom prefect.logging import get_logger\n"
        "set_api_log_sink(lambda log: print(log['message']))\nuse_logs(Settings())\n"
        "try:\n    raise ValueError('hunter2-secret')\nexcept ValueError:\n"
        "    get_logger('flow_runs').exception('told %s', 'hunter2-secret', extra={'flow_run_id': "
        "'00000000-0000-0000-0000-000000000000', 'flow_run_name': 'big-fox'})\n"
    )
    lines = run(program)
    assert "told ***" in lines
    assert "ValueError: ***" in lines


@pytest.mark.parts
def test_a_quiet_process_stays_quiet() -> None:
    program = (
        "import logging\nfrom configs.settings.settings import Settings\n"
        "from gpu_worker.monitor.logs import use_logs\n"
        "use_logs(Settings(), quiet=True)\nuse_logs(Settings())\n"
        "logging.getLogger('flows').info('chatter')\nlogging.getLogger('flows').warning('hunter2-secret')\n"
        "import sys\nassert 'prefect' not in sys.modules\n"
    )
    (line,) = run(program)
    assert line.endswith("| WARNING | flows - ***")


def test_lines_of_several_threads_stay_whole(tmp_path: Path) -> None:
    from gpu_worker.monitor.logs import LineHandler

    with (tmp_path / "log").open("w") as file:
        handler = LineHandler(file)
        handler.setFormatter(JsonLines(Redactor()))
        threads = [
            threading.Thread(target=lambda: [handler.handle(record("x" * 9000)) for _ in range(20)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / "log").read_text().splitlines()
    assert {len(json.loads(line)["message"]) for line in lines} == {9000}
    assert len(lines) == 80


QUIET = """
import logging
from configs.settings.settings import load_settings
from gpu_worker.monitor.logs import use_logs
use_logs(load_settings(), quiet=True)
import prefect.main
use_logs(load_settings())
runs = logging.getLogger("prefect.flow_runs")
sent = []
(api,) = [each for each in runs.handlers if type(each).__name__ == "APILogHandler"]
api.emit = lambda record: sent.append(record.msg)
runs.info("for the UI", extra={"flow_run_name": "fox"})
runs.warning("for both", extra={"flow_run_name": "fox"})
print(sent)
"""


@pytest.mark.parts
def test_a_quiet_terminal_keeps_nothing_from_the_flow_run_s_log_in_prefect() -> None:
    said = run(QUIET, {"PREFECT_LOGGING_LEVEL": "WARNING"})
    assert said[0] == "['for the UI', 'for both']"
    assert "for both" in said[1] and not any("for the UI" in line for line in said[1:])


def test_a_flow_that_ends_by_its_own_decision_or_by_ctrl_c_is_no_traceback_and_no_crash() -> None:
    def of_prefect(message: str, error: BaseException | None = None) -> logging.LogRecord:
        made = record(message, error=error)
        made.name = "prefect.flow_runs"
        return made

    unexpected = "Engine execution exited with unexpected exception"
    assert not is_news(of_prefect(unexpected, FailedRun("Nothing was started. 1 mistake")))
    assert not is_news(of_prefect(unexpected, CancelledRun()))
    assert is_news(of_prefect(unexpected, ValueError("a bug")))
    interrupt = asyncio.run(exception_to_crashed_state(KeyboardInterrupt()))
    assert not is_news(of_prefect(f"Crash detected! {interrupt.message}"))
    assert is_news(of_prefect("Crash detected! Request to http://127.0.0.1:4200/api failed"))
