"""What fitted a device, on SQLite and on PostgreSQL."""

from datetime import UTC, datetime

from storage.ledger.ledger import Ledger


def known(ledger: Ledger, device: str) -> dict[str, tuple[int, int]]:
    return {key: (found.size, found.fallback) for key, found in ledger.fleet.batch_sizes(device).items()}


def test_the_last_word_counts_for_each_device_and_key(ledger: Ledger) -> None:
    ledger.fleet.record_batch_size("H100", "sdxl 1024", 4, 0)
    ledger.fleet.record_batch_size("H100", "sdxl 2048", 1, 0)
    ledger.fleet.record_batch_size("L4", "sdxl 1024", 1, 1)
    ledger.fleet.record_batch_size("H100", "sdxl 2048", 1, 2)
    assert known(ledger, "H100") == {"sdxl 1024": (4, 0), "sdxl 2048": (1, 2)}
    assert known(ledger, "L4") == {"sdxl 1024": (1, 1)}
    assert known(ledger, "T4") == {}


def test_what_is_forgotten_is_gone_for_its_device_alone(ledger: Ledger) -> None:
    for device in ("H100", "L4"):
        ledger.fleet.record_batch_size(device, "key", 1, 0)
    ledger.fleet.forget_batch_size("H100", "key")
    ledger.fleet.forget_batch_size("H100", "unknown")
    assert (known(ledger, "H100"), known(ledger, "L4")) == ({}, {"key": (1, 0)})


def test_every_word_has_its_time(ledger: Ledger) -> None:
    ledger.fleet.record_batch_size("H100", "key", 4, 0)
    first = ledger.fleet.batch_sizes("H100")["key"].recorded_at
    ledger.fleet.record_batch_size("H100", "key", 4, 0)
    assert first < ledger.fleet.batch_sizes("H100")["key"].recorded_at <= datetime.now(UTC)
