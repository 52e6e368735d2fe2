"""Gateways at work, many on one thread: each has its rounds, and one that fails rests and stops no other."""

import threading
import time
from collections.abc import Sequence

import structlog

from gateway.errors import OutboxError
from gateway.service import GatewayService

_log = structlog.get_logger()

#: A gateway whose loop failed unexpectedly rests this long. [s]
_REST_S = 1.0
#: A gateway that stays without connection is waited for this long at the end. [s]
_COME_BACK_S = 3.0


def run_gateways(services: Sequence[GatewayService], *, stop: threading.Event, drain_s: float = 10.0) -> None:
    """Run gateways, already started, on this thread until `stop`; then send what is kept for up to `drain_s`, and close.

    They share one `wake` event, so that a receipt for any of them is acted on at once. One that fails rests, and does
    not stop the others.
    """
    wake = threading.Event()
    for service in services:
        service.wake = wake
    due_s = [0.0] * len(services)

    def step_due(longest_s: float) -> None:
        for index, service in enumerate(services):
            if service.take_wake() or time.monotonic() >= due_s[index]:
                due_s[index] = time.monotonic() + min(_step_safely(service), longest_s)
        wake.wait(max(0.0, min(due_s, default=longest_s) - time.monotonic()) if services else longest_s)
        wake.clear()

    try:
        while not stop.is_set():
            step_due(1.0)
        for service in services:
            service.measuring = False
        due_s = [0.0] * len(services)
        begun_s = time.monotonic()
        while (waited_s := time.monotonic() - begun_s) < drain_s:
            if not any(_worth_waiting_for(service, waited_s) for service in services):
                break
            step_due(0.1)
    finally:
        for service in services:
            _close_safely(service)


def _step_safely(service: GatewayService) -> float:
    try:
        return service.step(service.clock())
    except Exception:  # noqa: BLE001 - the outbox keeps what it has, and the other gateways go on
        service.counters.loop_errors += 1
        _log.exception("a gateway's round failed; it goes on", gateway_id=service.gateway_id)
        return _REST_S


def _worth_waiting_for(service: GatewayService, waited_s: float) -> bool:
    """Whether a gateway still has something to send, and a connection, or hope of one."""
    try:
        return not service.settled and (waited_s <= _COME_BACK_S or service.publisher.connected)
    except OutboxError:
        return False  # its rounds have told it; what is kept stays kept


def _close_safely(service: GatewayService) -> None:
    try:
        service.close()
    except Exception:  # noqa: BLE001 - the next one is to be closed too
        _log.exception("a gateway did not close in order", gateway_id=service.gateway_id)
