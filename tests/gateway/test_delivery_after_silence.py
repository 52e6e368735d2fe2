"""What the broker took and lost while ingest was away is not the message's fault: it is never given up for that."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.contract.receipts import Receipt
from gateway.counters import GatewayCounters
from gateway.delivery import Delivery, Pace
from gateway.outbox import Draft, Outbox
from gateway.publisher import Acknowledged, Connected, Event, Publisher

RESEND_MS = 10_000


class ForgetfulBroker(Publisher):
    """Takes everything at once, and passes nothing on."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.happened: list[Event] = [Connected()]

    @property
    def connected(self) -> bool:
        return True

    def publish(self, topic: str, payload: bytes) -> int | None:
        self.sent.append(payload)
        self.happened.append(Acknowledged(len(self.sent)))
        return len(self.sent)

    def events(self) -> list[Event]:
        happened, self.happened = self.happened, []
        return happened


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.begin_boot("b", 0)
    outbox.append([Draft("pools/p/gateways/g/readings", lambda seq: b"message %d" % seq, 1)] * 2, 0)
    yield outbox
    outbox.close()


def rounds(delivery: Delivery, from_ms: int, to_ms: int) -> None:
    for now_ms in range(from_ms, to_ms, 500):
        delivery.take_events(now_ms)
        delivery.send_backlog(now_ms)


def test_what_is_sent_again_and_what_came_back_is_counted(outbox: Outbox) -> None:
    broker, counters = ForgetfulBroker(), GatewayCounters()
    delivery = Delivery(
        gateway_id="g", outbox=outbox, publisher=broker, pace=Pace(resend_after_s=10.0), counters=counters
    )
    rounds(delivery, 0, 3 * (RESEND_MS + 1500))
    assert delivery.under_way == 2
    assert counters.resent > 0
    assert counters.sent == len(broker.sent) == 2 + counters.resent
    assert (delivery.heard_at_ms, counters.receipts, counters.connections) == (0, 0, 1)
    broker.happened.append(Receipt("b", [(0, 1)]))
    delivery.take_events(40_000)
    assert (delivery.under_way, delivery.heard_at_ms, counters.receipts) == (0, 40_000, 1)


def test_four_times_lost_in_silence_and_once_after_it_is_not_given_up(outbox: Outbox) -> None:
    broker = ForgetfulBroker()
    counters = GatewayCounters()
    delivery = Delivery(
        gateway_id="g", outbox=outbox, publisher=broker, pace=Pace(resend_after_s=10.0), counters=counters
    )
    end_ms = 4 * (RESEND_MS + 1500)
    rounds(delivery, 0, end_ms)
    tried = broker.sent.count(b"message 1")
    assert tried >= 4
    assert outbox.account().messages_dead == 0
    # Ingest is back, and receipts the first message, again and again; the broker had lost the second one. While ingest is
    # heard it may only be behind, so the second is sent again after six times as long.
    for number in range(8):
        broker.happened.append(Receipt("b", [(0, 0)]))
        rounds(delivery, end_ms, end_ms + RESEND_MS)
        end_ms += RESEND_MS
        assert outbox.account().messages_dead == 0, number
    assert broker.sent.count(b"message 1") > tried
    # Ingest answers and says nothing of it, for long: that is its fault, and a person must look.
    for _ in range(40):
        broker.happened.append(Receipt("b", [(0, 0)]))
        rounds(delivery, end_ms, end_ms + RESEND_MS)
        end_ms += RESEND_MS
    assert outbox.account().messages_dead == 1
    assert counters.dead_letters == 1
