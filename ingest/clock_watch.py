"""Whether this machine's clock agrees with the store's, looked at now and then, told once when that changes."""

import structlog

from gateway.contract.times import Clock
from ingest.store.clock import Ahead, ask_clock, clock_address
from ingest.store.ports import StoreUnavailableError

#: Two ingests that are so close to one store differ by twice as much, and analytics judges by facts up to 30 s ahead.
MOST_MS = 10_000

_log = structlog.get_logger()


class ClockWatch:
    """Compares clocks. One thread looks, any may read.

    Parameters
    ----------
    store_url : str
        As for `open_store`. A store in a file has this machine's clock: there is nothing to compare.
    clock : Clock
        This machine's.

    Raises
    ------
    StoreError
        If the file that names the store cannot be used.
    """

    def __init__(self, store_url: str, *, clock: Clock) -> None:
        self._address = clock_address(store_url)
        self._clock = clock
        self._ahead: Ahead | None = None
        self._told = False
        self.failures = 0

    def look(self) -> None:
        """Ask the store; without an answer the last one stands."""
        if self._address is None:
            return
        try:
            self._ahead = ask_clock(self._address, self._clock)
        except StoreUnavailableError:
            self.failures += 1
            return
        if self.differs and not self._told:
            _log.error(
                "this machine's clock and the store's differ: set them, by NTP; what is stored meanwhile is judged by both",
                store_ahead_s=self.ahead_s,
            )
        elif self._told and not self.differs:
            _log.info("this machine's clock and the store's agree again", store_ahead_s=self.ahead_s)
        self._told = self.differs

    @property
    def differs(self) -> bool:
        """Whether the clocks surely differ by more than `MOST_MS`."""
        return self._ahead is not None and (self._ahead.least_ms > MOST_MS or self._ahead.most_ms < -MOST_MS)

    @property
    def ahead_s(self) -> float | None:
        """How far the store's clock is ahead, to about half a second; None: not known. [s]"""
        return None if self._ahead is None else sum(self._ahead) / 2000

    def not_ready(self) -> list[str]:
        """What to do about it, in words; none: the clocks agree, as far as is known."""
        if not self.differs:
            return []
        return [
            f"the store's clock is {self.ahead_s:+.1f} s from this machine's: set both by NTP, verdicts depend on them"
        ]

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Help text and number, by name; none where there is nothing to compare."""
        if self._address is None:
            return {}
        ahead_s = self.ahead_s
        return {
            "store_clock_ahead_s": (
                "How far the store's clock is ahead of this machine's, to half a second; NaN: not known yet. [s]",
                float("nan") if ahead_s is None else ahead_s,
            ),
            "store_clock_differs": (
                "Whether the two clocks differ so much that verdicts suffer.",
                self.differs,
            ),
            "store_clock_failures": ("Attempts to ask for the store's clock that failed.", self.failures),
        }
