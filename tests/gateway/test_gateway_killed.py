"""A gateway process killed with SIGKILL at any moment: what it has measured and kept arrives after its restart."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.outbox import read_account

if TYPE_CHECKING:
    from tests.conftest import MosquittoBroker
    from tests.gateway.conftest import IngestPlayer

    PlayIngest = Callable[[bool], IngestPlayer]

pytestmark = pytest.mark.integration

_GATEWAY = """
import os, signal, sys, threading, time
from pathlib import Path
from gateway.contract.credentials import Credential
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading
from gateway.contract.times import format_timestamp
from gateway.outbox import Outbox
from gateway.publisher import Backoff, Publisher
from gateway.running import run_gateways
from gateway.service import GatewayService, Pace

path, port, boot_id, dies_before_publishing = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "yes"

class Sensor:
    pool_id, interval_s = "p1", 0.005
    count = 0
    def read(self, now_ms):
        self.count += 1
        return [Reading("fc-1", Quantity.FREE_CHLORINE_MG_L, format_timestamp(now_ms), self.count / 1000)]

class Mortal(Publisher):
    published = 0
    def publish(self, topic, payload):
        self.published += self.connected
        if dies_before_publishing and self.published > 10:
            os.kill(os.getpid(), signal.SIGKILL)  # kept, and never published
        return super().publish(topic, payload)

service = GatewayService(
    "g1", [Sensor()], Outbox(path),
    Mortal(gateway_id="g1", credential=Credential("g1", "x", "127.0.0.1", port), backoff=Backoff(0.05, 0.1)),
    lambda: time.time_ns() // 1_000_000, Pace(resend_after_s=1.0),
)
service.start_boot(boot_id)
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
run_gateways([service], stop=stop)
"""


def start(path: Path, port: int, boot_id: str, *, dies_before_publishing: bool) -> "subprocess.Popen[bytes]":
    word = "yes" if dies_before_publishing else "no"
    return subprocess.Popen([sys.executable, "-c", _GATEWAY, str(path), str(port), boot_id, word])


def wait_for(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def test_what_was_kept_arrives_after_kills_at_any_moment(
    broker: "MosquittoBroker", tmp_path: Path, play_ingest: "PlayIngest"
) -> None:
    path = tmp_path / "outbox.sqlite"
    ingest = play_ingest(True)

    def arrived(boot_id: str) -> int:
        return sum(boot == boot_id for boot, _ in set(ingest.order()))

    with start(path, broker.port, "between", dies_before_publishing=True) as child:
        assert child.wait(30) == -signal.SIGKILL
    assert arrived("between") <= 10 < read_account(path).boots["between"]
    with start(path, broker.port, "anywhere", dies_before_publishing=False) as child:
        wait_for(lambda: arrived("anywhere") >= 20)
        os.kill(child.pid, signal.SIGKILL)
    with start(path, broker.port, "last", dies_before_publishing=False) as child:
        wait_for(lambda: arrived("last") >= 5)
        child.terminate()
        assert child.wait(30) == 0
    account = read_account(path)
    assert (account.messages_pending, account.messages_dead, account.messages_dropped) == (0, 0, 0)
    expected = {(boot_id, seq) for boot_id, next_seq in account.boots.items() for seq in range(next_seq)}
    assert set(ingest.order()) == expected
    assert len(expected) == account.messages_sent
