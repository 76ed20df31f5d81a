"""Logs of processes that run for months."""

from pathlib import Path

from flows.prefect_api.log_files import limit_log


def test_a_log_that_grows_too_large_is_moved_and_the_process_writes_on(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("ab", buffering=0) as process:
        process.write(b"first\n" * 10)
        limit_log(log, most=60)
        assert not (tmp_path / "server.log.1").exists()
        process.write(b"second\n")
        limit_log(log, most=60)
        process.write(b"third\n")
        assert (tmp_path / "server.log.1").read_bytes() == b"first\n" * 10 + b"second\n"
        assert log.read_bytes() == b"third\n"
    limit_log(tmp_path / "no.log")
