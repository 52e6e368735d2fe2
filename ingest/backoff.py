"""Waiting times between attempts that must not end before one succeeds. Pure."""

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubles from `first_s` up to `last_s`."""

    first_s: float = 0.1
    last_s: float = 5.0
    attempts: int = 0

    def next_s(self) -> float:
        """How long to wait before the next attempt. [s]"""
        wait_s = min(self.last_s, self.first_s * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return wait_s

    def reset(self) -> None:
        """An attempt succeeded."""
        self.attempts = 0
