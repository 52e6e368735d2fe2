"""The thread beside a running ingest."""

import threading
from collections.abc import Callable
from typing import cast

import pytest

from ingest.clock_watch import ClockWatch
from poolwatch.account_watch import AccountWatch
from poolwatch.ingest_watch import IngestWatch, watching


class Looked:
    """Notes that it was looked at, and then does what a test wants."""

    def __init__(self, then: Callable[[], float] = lambda: 60.0) -> None:
        self.looks = threading.Semaphore(0)
        self._then = then

    def look(self) -> float:
        self.looks.release()
        return self._then()


def watch_of(clocks: Looked, account: Looked | None) -> IngestWatch:
    return IngestWatch(clocks=cast("ClockWatch", clocks), account=cast("AccountWatch | None", account))


def test_clocks_and_account_are_looked_at_again_and_again() -> None:
    clocks, account = Looked(), Looked(lambda: 0.001)
    with watching(watch_of(clocks, account)):
        for _ in range(3):
            assert clocks.looks.acquire(timeout=30)
            assert account.looks.acquire(timeout=30)


def test_without_an_account_the_clocks_are_looked_at() -> None:
    clocks = Looked()
    with watching(watch_of(clocks, None)):
        assert clocks.looks.acquire(timeout=30)


def test_a_failure_nobody_foresaw_is_counted_and_logged(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> float:
        raise RuntimeError("unforeseen")

    watch = watch_of(Looked(), Looked(fail))
    stop = threading.Event()
    thread = threading.Thread(target=watch.run, args=(stop,))
    thread.start()
    while not watch.failures:
        assert thread.is_alive()
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert watch.gauges()["watch_failures"][1] == 1
    assert "unforeseen" in capsys.readouterr().out


def test_a_look_that_hangs_does_not_keep_ingest_from_ending() -> None:
    go = threading.Event()
    clocks = Looked(lambda: float(go.wait(30)))
    with watching(watch_of(clocks, None)):
        assert clocks.looks.acquire(timeout=30)
    assert not go.is_set()
    go.set()
