"""All fault tests, in the order in which they are run."""

from benchmarks.chaos.fault import Fault
from benchmarks.chaos.kills import Kills
from benchmarks.chaos.two_starts import TwoStarts

FAULTS: tuple[Fault, ...] = (TwoStarts(), Kills())
