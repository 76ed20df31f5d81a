"""All fault tests, in the order in which they are run."""

from benchmarks.chaos.clock_jumps import ClockJumps
from benchmarks.chaos.fault import Fault
from benchmarks.chaos.full_disk import FullDisk
from benchmarks.chaos.kills import Kills
from benchmarks.chaos.locked_ledger import LockedPostgres, LockedSqlite
from benchmarks.chaos.store_faults import FlakyStore, RefusingStore
from benchmarks.chaos.two_starts import TwoStarts
from benchmarks.chaos.two_workers import TwoWorkers

FAULTS: tuple[Fault, ...] = (
    TwoStarts(),
    TwoWorkers(),
    FlakyStore(),
    RefusingStore(),
    LockedSqlite(),
    LockedPostgres(),
    FullDisk("store"),
    FullDisk("ledger"),
    ClockJumps(),
    Kills(),
)
