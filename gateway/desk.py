"""A desk: people's tests and logbook entries, recorded through an outbox of their own."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.contract.codec import decode_message
from gateway.contract.credentials import Credential
from gateway.contract.errors import MessageError
from gateway.contract.logbook import LogbookEntry
from gateway.contract.quantities import SPECS, Quantity
from gateway.contract.readings import MANUAL_SENSOR, Reading, ReadingStatus
from gateway.contract.times import Clock, format_timestamp
from gateway.contract.topics import parse_topic
from gateway.drafts import drafts
from gateway.errors import InputError, OutboxHeldError
from gateway.outbox import Outbox
from gateway.publisher import Publisher
from gateway.service import GatewayService

#: How long a command waits for another one that has the desk's outbox open. [s]
_WAIT_FOR_OUTBOX_S = 5.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """How a recording ended: `stored` in the journal, or still kept here; `pending` messages wait, older ones too."""

    stored: bool
    pending: int


def record_test(
    outbox_path: Path,
    *,
    credential: Credential,
    gateway_id: str,
    pool_id: str,
    values: Mapping[Quantity, float],
    by: str,
    method: str,
    measured_at_ms: int,
    clock: Clock,
    wait_s: float = 10.0,
) -> Recorded:
    """Record a test by hand.

    Parameters
    ----------
    values : mapping of Quantity to float
        What was tested, in the quantity's unit.
    wait_s : float
        How long to wait for the receipt; without it the test stays in the outbox and goes with the next one. [s]

    Raises
    ------
    InputError
        If a value is outside its quantity's plausible range, or ingest would refuse the test.
    OutboxError
        If the outbox cannot be used; then nothing was recorded.
    """
    if not values:
        raise InputError("a test without a value: give at least one")
    if not by.strip():
        raise InputError("a test needs the name of who did it")
    for quantity, value in values.items():
        spec = SPECS[quantity]
        if not spec.low <= value <= spec.high:  # also refuses NaN
            raise InputError(
                f"{spec.name_en} {value:g} is not plausible: {quantity} is from {spec.low:g} to {spec.high:g} "
                f"{spec.unit}".rstrip()
            )
    measured_at = format_timestamp(measured_at_ms)
    readings = [
        Reading(
            MANUAL_SENSOR, quantity, measured_at, float(value), ReadingStatus.MANUAL, by=by, method=method
        )
        for quantity, value in values.items()
    ]
    return _record(outbox_path, credential, gateway_id, pool_id, readings, clock, wait_s)


def record_entry(
    outbox_path: Path,
    *,
    credential: Credential,
    gateway_id: str,
    pool_id: str,
    entry: LogbookEntry,
    clock: Clock,
    wait_s: float = 10.0,
) -> Recorded:
    """Record a logbook entry; parameters and errors as of `record_test`."""
    return _record(outbox_path, credential, gateway_id, pool_id, [entry], clock, wait_s)


def _record(
    outbox_path: Path,
    credential: Credential,
    gateway_id: str,
    pool_id: str,
    items: Sequence[Reading] | Sequence[LogbookEntry],
    clock: Clock,
    wait_s: float,
) -> Recorded:
    _refuse_early(gateway_id, pool_id, items)
    service = GatewayService(
        gateway_id=gateway_id,
        sensors=[],
        outbox=_open_outbox(outbox_path),
        publisher=Publisher(gateway_id=gateway_id, credential=credential),
        clock=clock,
    )
    try:
        service.start_boot()
        kept = service.record(pool_id, items, clock())
        drain(service, wait_s=wait_s)
        stored = not any(service.outbox.holds(message.message_id) for message in kept)
        pending = service.outbox.account().messages_pending
    finally:
        service.close()
    return Recorded(stored=stored, pending=pending)


def _refuse_early(gateway_id: str, pool_id: str, items: Sequence[Reading] | Sequence[LogbookEntry]) -> None:
    """Say now what ingest would say later, when the person is gone."""
    try:
        refused = [
            item
            for draft in drafts(pool_id, items, gateway_id=gateway_id, boot_id="0")
            for item in decode_message(parse_topic(draft.topic), draft.encode(0)).refused
        ]
    except (MessageError, UnicodeEncodeError) as error:
        raise InputError(f"this cannot be recorded: {error}") from error
    if refused:
        raise InputError(f"this cannot be recorded: {refused[0].text}")


def drain(service: GatewayService, *, wait_s: float, stop: threading.Event | None = None) -> None:
    """Step a gateway until its outbox is empty, `wait_s` have passed, or `stop`."""
    deadline = time.monotonic() + wait_s
    while not service.settled and time.monotonic() < deadline and not (stop is not None and stop.is_set()):
        service.step(service.clock())
        service.wake.wait(0.1)
        service.wake.clear()


def _open_outbox(path: Path) -> Outbox:
    deadline = time.monotonic() + _WAIT_FOR_OUTBOX_S
    while True:
        try:
            return Outbox(path)
        except OutboxHeldError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)
