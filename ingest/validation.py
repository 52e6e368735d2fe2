"""From a message as it came to rows for the store and refusals with their reason. Pure.

`assess` says, by the registry in force, what of a message is refused. `build_rows` makes the rows of what is not; it
needs no registry, so that the store can be filled again from the journal at any time with the same result.
"""

import contextlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec

from gateway.contract.codec import Envelope, decode_message, decode_status
from gateway.contract.errors import MessageError
from gateway.contract.logbook import LogbookEntry
from gateway.contract.readings import MANUAL_SENSOR, BootId, Reading, ReadingStatus, Seq
from gateway.contract.registry import Pool, Registry
from gateway.contract.status import GatewayStatus
from gateway.contract.times import parse_timestamp
from gateway.contract.topics import Topic, TopicKind, parse_topic
from ingest.store.records import GatewayStatusRow, LogbookRow, ReadingRow

#: Further ahead of its arrival a time is a wrong clock (contract).
MAX_AHEAD_MS = 10 * 60 * 1000
_BY_HAND = (ReadingStatus.MANUAL, ReadingStatus.LABORATORY)
#: A refusal after which the envelope's own key cannot be believed.
_UNTRUSTED_KEY = ("duplicate_key", "gateway_mismatch")


#: An explanation repeats names of the message, which may be of any length.
_MAX_TEXT = 500


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """Why a message (position None) or one of its items was not taken."""

    position: int | None
    code: str
    text: str


def refusal_of(position: int | None, *, code: str, text: str) -> Refusal:
    """Refusal whose text any store takes and any terminal shows: bounded, no half surrogate pair, no control character.

    A text may quote names that a stranger chose; an escape sequence in one would steer the terminal of who reads it.
    """
    shown = "".join(sign if sign.isprintable() else "�" for sign in text[:_MAX_TEXT])
    return Refusal(position, code, shown)


class Assessment(msgspec.Struct, frozen=True, gc=False):
    """What a message is, and what of it is refused.

    `boot_id` and `seq` are None when the message carries none that could be read. `items` counts its readings or entries,
    the refused ones too.
    """

    kind: TopicKind | None
    gateway_id: str
    boot_id: str | None
    seq: int | None
    items: int
    refusals: tuple[Refusal, ...]

    @property
    def is_refused(self) -> bool:
        """Whether the whole message is refused."""
        return bool(self.refusals) and any(refusal.position is None for refusal in self.refusals)


@dataclass(frozen=True, slots=True)
class MessageRows:
    """What one message puts into the store."""

    readings: tuple[ReadingRow, ...] = ()
    logbook: tuple[LogbookRow, ...] = ()
    statuses: tuple[GatewayStatusRow, ...] = ()


def assess(*, topic: str, payload: bytes, registry: Registry, received_at_ms: int) -> Assessment:
    """Take a message apart and say what of it is refused."""
    try:
        parsed = parse_topic(topic)
    except MessageError as error:
        return _refused(None, "", error)
    if parsed.kind is TopicKind.STATUS:
        return _assess_status(parsed, payload, registry)
    try:
        envelope = decode_message(parsed, payload)
    except MessageError as error:
        return _refused(parsed.kind, parsed.gateway_id, error, payload)
    try:
        refused = find_refusals(envelope, topic=parsed, registry=registry, received_at_ms=received_at_ms)
    except MessageError as error:
        refused = [refusal_of(None, code=error.code, text=error.text)]
    return Assessment(
        kind=parsed.kind,
        gateway_id=parsed.gateway_id,
        boot_id=envelope.boot_id,
        seq=envelope.seq,
        items=len(envelope.items) + len(envelope.refused),
        refusals=tuple(refused),
    )


def _assess_status(topic: Topic, payload: bytes, registry: Registry) -> Assessment:
    try:
        if topic.gateway_id not in registry.gateways:
            raise _unknown_gateway(topic.gateway_id)
        decode_status(payload)
    except MessageError as error:
        return _refused(topic.kind, topic.gateway_id, error)
    return Assessment(topic.kind, topic.gateway_id, None, None, 0, ())


class _Key(msgspec.Struct):
    """The little that is needed of a refused message, so that its gateway gets a receipt for it."""

    boot_id: BootId
    seq: Seq
    readings: list[msgspec.Raw] = []
    entries: list[msgspec.Raw] = []


_KEY_DECODER = msgspec.json.Decoder(_Key)


def _refused(
    kind: TopicKind | None, gateway_id: str, error: MessageError, payload: bytes | None = None
) -> Assessment:
    refusals = (refusal_of(None, code=error.code, text=error.text),)
    key = None
    if payload is not None and error.code not in _UNTRUSTED_KEY:
        # Not even a key: quarantined without a receipt.
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            key = _KEY_DECODER.decode(payload)
    if key is None:
        return Assessment(kind, gateway_id, None, None, 0, refusals)
    items = len(key.readings) + len(key.entries)
    return Assessment(kind, gateway_id, key.boot_id, key.seq, items, refusals)


def find_refusals(
    envelope: Envelope, *, topic: Topic, registry: Registry, received_at_ms: int
) -> list[Refusal]:
    """Items that are refused, by the codec or by the registry, by position.

    Raises
    ------
    MessageError
        If the whole message is: pool or gateway unknown, or the gateway may not speak for the pool.
    """
    gateway = registry.gateways.get(envelope.gateway_id)
    if gateway is None:
        raise _unknown_gateway(envelope.gateway_id)
    pool = registry.pools.get(topic.pool_id or "")
    if pool is None:
        raise MessageError(
            "unknown_pool", f"the registry has no pool {topic.pool_id!r}: add it, or correct the topic"
        )
    if pool.pool_id not in gateway.pools:
        raise MessageError(
            "foreign_pool",
            f"gateway {gateway.gateway_id!r} may not speak for pool {pool.pool_id!r}: add the pool to it in the registry",
        )
    refusals = [refusal_of(item.position, code=item.code, text=item.text) for item in envelope.refused]
    for position, item in zip(envelope.positions, envelope.items, strict=True):
        try:
            if isinstance(item, Reading):
                _check_reading(item, pool, received_at_ms)
            elif isinstance(item, LogbookEntry):
                _check_entry(item, pool, received_at_ms)
        except MessageError as error:
            refusals.append(refusal_of(position, code=error.code, text=error.text))
    return sorted(refusals, key=lambda refusal: -1 if refusal.position is None else refusal.position)


def _unknown_gateway(gateway_id: str) -> MessageError:
    return MessageError(
        "unknown_gateway", f"the registry has no gateway {gateway_id!r}: add it, or correct its id"
    )


def _check_reading(reading: Reading, pool: Pool, received_at_ms: int) -> None:
    measured_at_ms = reading.measured_at_ms
    _check_not_ahead("measured_at", reading.measured_at, measured_at_ms, received_at_ms)
    if reading.sensor_id == MANUAL_SENSOR:
        if reading.status not in _BY_HAND:
            raise MessageError(
                "wrong_status",
                f"sensor {MANUAL_SENSOR!r} is for tests by hand: status must be manual or laboratory, not "
                f"{reading.status.value}",
            )
        return
    of_that_name = [sensor for sensor in pool.sensors if sensor.sensor_id == reading.sensor_id]
    if not of_that_name:
        raise MessageError(
            "unknown_sensor", f"pool {pool.pool_id!r} has no sensor {reading.sensor_id!r} in the registry"
        )
    matching = [sensor for sensor in of_that_name if sensor.quantity == reading.quantity]
    if not matching:
        given = ", ".join(sensor.quantity.value for sensor in of_that_name)
        raise MessageError(
            "foreign_quantity",
            f"sensor {reading.sensor_id!r} of pool {pool.pool_id!r} measures {given}, not {reading.quantity.value}",
        )
    if not any(
        (sensor.from_ms is None or measured_at_ms >= sensor.from_ms)
        and (sensor.until_ms is None or measured_at_ms < sensor.until_ms)
        for sensor in matching
    ):
        raise MessageError(
            "sensor_not_in_force",
            f"{reading.measured_at} is outside `from` and `until` of sensor {reading.sensor_id!r} in the registry",
        )


def _check_entry(entry: LogbookEntry, pool: Pool, received_at_ms: int) -> None:
    _check_not_ahead("at", entry.at, entry.at_ms, received_at_ms)
    if entry.measured_at is not None:
        _check_not_ahead("measured_at", entry.measured_at, parse_timestamp(entry.measured_at), received_at_ms)
    known = {MANUAL_SENSOR, *(sensor.sensor_id for sensor in pool.sensors)}
    if entry.sensor_id is not None and entry.sensor_id not in known:
        raise MessageError(
            "unknown_sensor", f"pool {pool.pool_id!r} has no sensor {entry.sensor_id!r} in the registry"
        )


def _check_not_ahead(name: str, text: str, instant_ms: int, received_at_ms: int) -> None:
    ahead_ms = instant_ms - received_at_ms
    if ahead_ms > MAX_AHEAD_MS:
        raise MessageError(
            "future_time",
            f"`{name}` {text} is {ahead_ms / 1000:.0f} s after its arrival, at most {MAX_AHEAD_MS // 1000} s are taken: "
            "correct the gateway's clock",
        )


def build_rows(*, topic: str, payload: bytes, received_at_ms: int, refused: AbstractSet[int]) -> MessageRows:
    """Rows of a message that was not refused as a whole, without the items at the refused positions.

    Raises
    ------
    MessageError
        If the message cannot be decoded, which the journal's assessment rules out.
    """
    parsed = parse_topic(topic)
    if parsed.kind is TopicKind.STATUS:
        return MessageRows(
            statuses=(_status_row(parsed.gateway_id, decode_status(payload), payload, received_at_ms),)
        )
    envelope = decode_message(parsed, payload)
    taken = [
        (position, item)
        for position, item in zip(envelope.positions, envelope.items, strict=True)
        if position not in refused
    ]
    pool_id = parsed.pool_id or ""
    return MessageRows(
        readings=tuple(
            _reading_row(item, envelope, pool_id, position, received_at_ms)
            for position, item in taken
            if isinstance(item, Reading)
        ),
        logbook=tuple(
            _logbook_row(item, envelope, pool_id, position, received_at_ms)
            for position, item in taken
            if isinstance(item, LogbookEntry)
        ),
    )


def _reading_row(
    reading: Reading, envelope: Envelope, pool_id: str, position: int, received_at_ms: int
) -> ReadingRow:
    return ReadingRow(
        pool_id=pool_id,
        sensor_id=reading.sensor_id,
        quantity=reading.quantity.value,
        measured_at_ms=reading.measured_at_ms,
        value=reading.value,
        status=reading.status.value,
        received_at_ms=received_at_ms,
        gateway_id=envelope.gateway_id,
        boot_id=envelope.boot_id,
        seq=envelope.seq,
        position=position,
        by=reading.by,
        method=reading.method,
    )


def _logbook_row(
    entry: LogbookEntry, envelope: Envelope, pool_id: str, position: int, received_at_ms: int
) -> LogbookRow:
    return LogbookRow(
        pool_id=pool_id,
        kind=entry.kind.value,
        at_ms=entry.at_ms,
        received_at_ms=received_at_ms,
        gateway_id=envelope.gateway_id,
        boot_id=envelope.boot_id,
        seq=envelope.seq,
        position=position,
        body=msgspec.json.encode(entry),
    )


def _status_row(
    gateway_id: str, status: GatewayStatus, payload: bytes, received_at_ms: int
) -> GatewayStatusRow:
    return GatewayStatusRow(
        gateway_id=gateway_id,
        received_at_ms=received_at_ms,
        state=status.state.value,
        boot_id=status.boot_id,
        body=payload,
    )
