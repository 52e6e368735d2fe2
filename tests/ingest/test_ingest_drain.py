"""How a service ends that takes over the session of another: with a subscriber that says when."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from ingest.incoming import Incoming
from ingest.journal.account import read_account
from ingest.journal.journal import Journal
from ingest.registry_source import RegistrySource
from ingest.service import IngestService
from ingest.store.opening import open_store
from ingest.subscriber_figures import SubscriberFigures
from ingest.subscriber_handover import Handover

TOPIC = "pools/north/gateways/gw-a/readings"
WaitUntil = Callable[..., None]


class LeftSession:
    """What a broker holds for a session that is being retired."""

    is_connected = True

    def __init__(self, left: list[Incoming], failure: Exception | None = None) -> None:
        self._left = left
        self._failure = failure
        self._handover = Handover(time.monotonic())
        self._answers = 1
        self.acknowledged: list[Incoming] = []
        self.drained_at_close = False

    @property
    def is_drained(self) -> bool:
        self._answers += self._handover.ask(answers=self._answers, now_s=time.monotonic())
        return self._handover.is_complete(answers=self._answers)

    def figures(self) -> SubscriberFigures:
        return SubscriberFigures()

    def start(self) -> None:
        pass

    def take(self, max_messages: int, *, wait_s: float) -> list[Incoming]:
        if self._failure is not None:
            raise self._failure
        taken, self._left = self._left[:max_messages], self._left[max_messages:]
        if taken:
            self._handover.receive(len(taken), time.monotonic())
        else:
            time.sleep(wait_s / 10)
        return taken

    def acknowledge(self, messages: Sequence[Incoming]) -> int:
        self._handover.settle(len(messages))
        self.acknowledged += messages
        return len(messages)

    def publish_receipt(self, gateway_id: str, payload: bytes) -> bool:
        return bool(gateway_id and payload)

    def close(self) -> None:
        self.drained_at_close = self.is_drained


@pytest.fixture
def drain(tmp_path: Path, registry_text: str, now_ms: int) -> Callable[[LeftSession, threading.Event], bool]:
    registry_path = tmp_path / "pools.toml"
    registry_path.write_text(registry_text, encoding="utf-8")

    def run(session: LeftSession, stop: threading.Event) -> bool:
        with (
            closing(open_store(f"sqlite:{tmp_path / 'store.sqlite'}")) as store,
            closing(Journal(tmp_path / "journal")) as journal,
        ):
            service = IngestService(
                subscriber=session,
                journal=journal,
                store=store,
                registry=RegistrySource(registry_path, fallback=None),
                clock=lambda: now_ms,
            )
            return service.drain(stop)

    return run


@pytest.fixture
def left(
    payload: Callable[..., bytes], reading: Callable[..., dict[str, object]], now_ms: int
) -> list[Incoming]:
    return [Incoming(TOPIC, payload([reading()], seq=seq), now_ms, seq + 1) for seq in range(50)]


Drain = Callable[[LeftSession, threading.Event], bool]


def test_what_was_left_is_journalled_before_the_session_ends(
    tmp_path: Path, drain: Drain, left: list[Incoming]
) -> None:
    session = LeftSession(list(left))
    assert drain(session, threading.Event())
    assert session.acknowledged == left
    assert session.drained_at_close
    assert read_account(tmp_path / "journal").messages == len(left)


def test_a_stop_before_that_is_told(drain: Drain, left: list[Incoming]) -> None:
    stop = threading.Event()
    stop.set()
    session = LeftSession(list(left))
    assert not drain(session, stop)
    assert not session.drained_at_close


def test_a_failure_ends_the_watch_too(drain: Drain) -> None:
    with pytest.raises(RuntimeError, match="broken"):
        drain(LeftSession([], RuntimeError("broken")), threading.Event())
    assert "drain-watcher" not in {thread.name for thread in threading.enumerate()}
