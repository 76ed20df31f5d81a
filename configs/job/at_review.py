"""What a job does once people have to decide."""

from enum import StrEnum


class AtReview(StrEnum):
    """What a burst does once nothing is left to compute and a person may still accept or reject images."""

    END = "end"
    WAIT = "wait"
