"""Readings and logbook entries → messages that fit the contract's bounds."""

from collections.abc import Sequence

from gateway.contract.codec import (
    MAX_ENTRIES,
    MAX_PAYLOAD_BYTES,
    MAX_READINGS,
    encode_logbook,
    encode_readings,
)
from gateway.contract.logbook import LogbookEntry, LogbookMessage
from gateway.contract.readings import Reading, ReadingsMessage
from gateway.contract.topics import logbook_topic, readings_topic
from gateway.outbox import Draft

#: A seq is 0 when the size is taken; the real one has up to this many digits more.
_SPARE_BYTES = 16


def drafts(
    pool_id: str, items: Sequence[Reading] | Sequence[LogbookEntry], *, gateway_id: str, boot_id: str
) -> list[Draft]:
    """Messages that carry the items of one pool, in order: one, or several if they do not fit into one."""
    readings = [item for item in items if isinstance(item, Reading)]
    entries = [item for item in items if isinstance(item, LogbookEntry)]
    made = []
    if readings:
        made += _readings(
            readings_topic(pool_id=pool_id, gateway_id=gateway_id), readings, gateway_id, boot_id
        )
    if entries:
        made += _entries(logbook_topic(pool_id=pool_id, gateway_id=gateway_id), entries, gateway_id, boot_id)
    return made


def _readings(topic: str, readings: list[Reading], gateway_id: str, boot_id: str) -> list[Draft]:
    def encode(seq: int) -> bytes:
        return encode_readings(ReadingsMessage(1, gateway_id, boot_id, seq, readings))

    if len(readings) == 1 or (len(readings) <= MAX_READINGS and _fits(encode(0))):
        return [Draft(topic, encode, len(readings))]
    half = len(readings) // 2
    return [
        draft
        for part in (readings[:half], readings[half:])
        for draft in _readings(topic, part, gateway_id, boot_id)
    ]


def _entries(topic: str, entries: list[LogbookEntry], gateway_id: str, boot_id: str) -> list[Draft]:
    def encode(seq: int) -> bytes:
        return encode_logbook(LogbookMessage(1, gateway_id, boot_id, seq, entries))

    if len(entries) == 1 or (len(entries) <= MAX_ENTRIES and _fits(encode(0))):
        return [Draft(topic, encode, 0)]
    half = len(entries) // 2
    return [
        draft
        for part in (entries[:half], entries[half:])
        for draft in _entries(topic, part, gateway_id, boot_id)
    ]


def _fits(payload: bytes) -> bool:
    return len(payload) + _SPARE_BYTES <= MAX_PAYLOAD_BYTES
