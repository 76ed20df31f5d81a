"""The base of every exception, and the callback by which long operations report."""

from collections.abc import Callable

Log = Callable[[str], None]  # takes one line for people


class PixelmillError(Exception):
    """Base class of every exception that Pixelmill raises on purpose."""
