"""A thread beside a running ingest that looks now and then at what needs no hurry: the account, and the clocks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from ingest.clock_watch import ClockWatch
from poolwatch.account_watch import EVERY_S, AccountWatch

#: A store that hangs is waited for half a minute; who ends ingest need not. It only reads: nothing is lost by that. [s]
_LEAVE_WITHIN_S = 2.0

_log = structlog.get_logger()


class IngestWatch:
    """Looks until it is told to stop; without an `account`, at the clocks alone."""

    def __init__(self, *, clocks: ClockWatch, account: AccountWatch | None) -> None:
        self._clocks = clocks
        self._account = account
        self.failures = 0

    def gauges(self) -> dict[str, tuple[str, float]]:
        """Help text and number, by name."""
        return {
            "watch_failures": (
                "Looks at the account or the clocks that failed unforeseen; the log says why.",
                self.failures,
            )
        }

    def run(self, stop: threading.Event) -> None:
        """Look until `stop`."""
        wait_s = 0.0
        while not stop.wait(wait_s):
            wait_s = EVERY_S
            try:
                self._clocks.look()
                if self._account is not None:
                    wait_s = self._account.look()
            except Exception:  # noqa: BLE001 - it is beside the work: counted, logged, and tried again
                self.failures += 1
                _log.exception("looking at the account or the clocks failed in an unexpected way")


@contextmanager
def watching(watch: IngestWatch) -> Iterator[None]:
    """Have it look meanwhile, on a thread of its own."""
    stop = threading.Event()
    thread = threading.Thread(target=watch.run, args=(stop,), name="ingest-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_LEAVE_WITHIN_S)
