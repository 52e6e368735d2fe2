"""Bytes ↔ messages. Strict: what does not fit is refused with a precise reason, a whole message or an item.

A message is refused whole (`MessageError`) when its envelope cannot be trusted. An item of a good envelope is
refused alone (`RefusedItem`), and its neighbours go on.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.contract.errors import ContractError, MessageError
from gateway.contract.logbook import NEEDED_FIELDS, LogbookEntry, LogbookMessage
from gateway.contract.quantities import Quantity
from gateway.contract.readings import (
    ID_PATTERN,
    RESULT_STATUSES,
    BootId,
    Id,
    Reading,
    ReadingsMessage,
    SchemaNumber,
    Seq,
)
from gateway.contract.receipts import Receipt
from gateway.contract.status import GatewayStatus
from gateway.contract.strict_json import (
    MAX_DEPTH,
    MAX_PAYLOAD_BYTES,
    json_type,
    parse_json,
    refuse_depth,
    shorten,
)
from gateway.contract.times import TIMESTAMP_PATTERN, parse_timestamp
from gateway.contract.topics import Topic, TopicKind

__all__ = [
    "MAX_DEPTH",
    "MAX_ENTRIES",
    "MAX_PAYLOAD_BYTES",
    "MAX_READINGS",
    "Envelope",
    "RefusedItem",
    "decode_message",
    "decode_receipt",
    "decode_status",
    "encode_logbook",
    "encode_readings",
    "encode_receipt",
    "encode_status",
]

MAX_READINGS = 500
MAX_ENTRIES = 100

_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """An item of a message that was refused alone: its position from 0, the reason's code and its text."""

    position: int
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message taken apart. `positions[i]` is the place in the message of `items[i]`, from 0."""

    kind: TopicKind
    gateway_id: str
    boot_id: str
    seq: int
    items: list[Reading] | list[LogbookEntry]
    positions: list[int]
    refused: list[RefusedItem]


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    """The envelope without its items, so that one bad item does not refuse the others."""

    schema: SchemaNumber
    gateway_id: Id
    boot_id: BootId
    seq: Seq


def encode_readings(message: ReadingsMessage) -> bytes:
    """Payload of a message of readings."""
    return _ENCODER.encode(message)


def encode_logbook(message: LogbookMessage) -> bytes:
    """Payload of a message of logbook entries."""
    return _ENCODER.encode(message)


def encode_receipt(receipt: Receipt) -> bytes:
    """Payload of a receipt."""
    return _ENCODER.encode(receipt)


def encode_status(status: GatewayStatus) -> bytes:
    """Payload of a gateway's status."""
    return _ENCODER.encode(status)


def decode_receipt(payload: bytes) -> Receipt:
    """Receipt of a payload.

    Raises
    ------
    MessageError
        If it is none, or a range ends before it begins.
    """
    receipt: Receipt = _convert_whole(parse_json(payload), Receipt)
    for first, last in receipt.stored:
        if last < first:
            raise MessageError("wrong_shape", f"a receipt's range ends before it begins: [{first}, {last}]")
    return receipt


def decode_status(payload: bytes) -> GatewayStatus:
    """Status of a payload.

    Raises
    ------
    MessageError
        If it is none, a time in it is no real one, or an outbox ends before it begins.
    """
    status: GatewayStatus = _convert_whole(parse_json(payload), GatewayStatus)
    _check_timestamp("since", status.since)
    _check_text("version", status.version)
    if status.hours_left is not None:
        _check_finite("hours_left", status.hours_left)
    for dropped in status.dropped:
        _check_timestamp("dropped.from", dropped.from_)
        _check_timestamp("dropped.to", dropped.to)
    for boot_id, first, following in status.outbox:
        if following < first:
            raise MessageError(
                "wrong_shape", f"the outbox of boot {boot_id} ends before it begins: [{first}, {following}]"
            )
    return status


def decode_message(topic: Topic, payload: bytes) -> Envelope:
    """Take a message of readings or logbook entries apart.

    Raises
    ------
    MessageError
        If the whole message is refused. Codes: ``too_large``, ``not_utf8``, ``malformed_json``,
        ``not_finite``, ``duplicate_key``, ``too_deep``, ``wrong_shape``, ``missing_field``,
        ``unknown_field``, ``too_many``, ``empty``, ``gateway_mismatch``; ``bad_topic`` for
        a topic that carries no items.
    """
    if topic.kind is TopicKind.READINGS:
        return _take_apart(topic, parse_json(payload), "readings", MAX_READINGS, _check_reading)
    if topic.kind is TopicKind.LOGBOOK:
        return _take_apart(topic, parse_json(payload), "entries", MAX_ENTRIES, _check_entry)
    raise MessageError("bad_topic", f"a topic of kind {topic.kind.value!r} carries no readings or entries")


def _take_apart(
    topic: Topic, parsed: object, name: str, most: int, check: Callable[[object], Reading | LogbookEntry]
) -> Envelope:
    header, raw_items = _open(parsed, name, most)
    if header.gateway_id != topic.gateway_id:
        raise MessageError(
            "gateway_mismatch",
            f"the payload says gateway {header.gateway_id!r}, its topic {topic.gateway_id!r}: they must agree",
        )
    items: list[Any] = []
    positions: list[int] = []
    refused: list[RefusedItem] = []
    for position, raw in enumerate(raw_items):
        try:
            items.append(check(raw))
        except MessageError as error:
            refused.append(RefusedItem(position, error.code, f"`{name}[{position}]`: {error.text}"))
        else:
            positions.append(position)
    if refused:
        refuse_depth(parsed)
    return Envelope(
        kind=topic.kind,
        gateway_id=header.gateway_id,
        boot_id=header.boot_id,
        seq=header.seq,
        items=items,
        positions=positions,
        refused=refused,
    )


def _open(parsed: object, name: str, most: int) -> tuple[_Header, list[object]]:
    """Header and items of an envelope, whose items may still be anything."""
    if not isinstance(parsed, dict):
        refuse_depth(parsed)
        raise MessageError("wrong_shape", f"the payload is a JSON {json_type(parsed)}, it must be an object")
    fields = {key: value for key, value in parsed.items() if key != name}
    header: _Header = _convert_whole(fields, _Header)
    if name not in parsed:
        raise MessageError("missing_field", f"`{name}` is missing")
    items = parsed[name]
    if not isinstance(items, list):
        raise MessageError("wrong_shape", f"`{name}` is a JSON {json_type(items)}, it must be an array")
    if not items:
        raise MessageError("empty", f"`{name}` is empty: a message carries at least one")
    if len(items) > most:
        raise MessageError(
            "too_many", f"`{name}` has {len(items)} items, at most {most} are taken: split them"
        )
    return header, items


def _check_reading(raw: object) -> Reading:
    reading: Reading = _convert(raw, Reading)
    if reading.value is None and reading.status in RESULT_STATUSES:
        raise MessageError(
            "missing_value", f"`value` is null, which status {reading.status.value!r} does not allow"
        )
    if reading.value is not None:
        _check_finite("value", reading.value)
    _check_timestamp("measured_at", reading.measured_at)
    _check_text("by", reading.by)
    _check_text("method", reading.method)
    return reading


def _check_entry(raw: object) -> LogbookEntry:
    entry: LogbookEntry = _convert(raw, LogbookEntry)
    for name in NEEDED_FIELDS.get(entry.kind, ()):
        if getattr(entry, name) is None:
            raise MessageError(
                "missing_field", f"an entry of kind {entry.kind.value!r} needs `{name.rstrip('_')}`"
            )
    _check_timestamp("at", entry.at)
    for name in ("from_", "until", "measured_at"):
        moment = getattr(entry, name)
        if moment is not None:
            _check_timestamp(name.rstrip("_"), moment)
    if (
        entry.from_ is not None
        and entry.until is not None
        and parse_timestamp(entry.until) <= parse_timestamp(entry.from_)
    ):
        raise MessageError("bad_time", f"`until` {entry.until} is not after `from` {entry.from_}")
    if entry.quantities is not None:
        _check_quantities(entry.quantities)
    for name in ("by", "text", "refers_to"):
        _check_text(name, getattr(entry, name))
    return entry


def _check_quantities(names: list[str]) -> None:
    if not names:
        raise MessageError("missing_value", "`quantities` is empty: name what was posted")
    for name in names:
        if name not in _QUANTITY_NAMES:
            raise MessageError("unknown_quantity", _unknown_quantity("quantities", name))


_QUANTITY_NAMES = frozenset(quantity.value for quantity in Quantity)


def _unknown_quantity(field: str, name: str) -> str:
    return f"`{field}`: {name[:80]!r} is not known; known: {', '.join(Quantity)}"


def _check_finite(name: str, number: float) -> None:
    """A literal like 1e999 is JSON, and no number that can be kept."""
    if not math.isfinite(number):
        raise MessageError(
            "not_finite", f"`{name}` is too large for a number; a missing value is null with a status"
        )


def _check_text(name: str, text: str | None) -> None:
    """A lone surrogate passes JSON as an escape, and no UTF-8 and no store can hold it."""
    if text is not None and not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MessageError(
                "not_utf8",
                f"`{name}` has half of a surrogate pair at character {error.start}: write both halves",
            ) from error


def _check_timestamp(name: str, text: str) -> None:
    try:
        parse_timestamp(text)
    except ContractError as error:
        raise MessageError("bad_time", shorten(f"`{name}`: {error}")) from error


def _convert_whole(parsed: object, kind: Any) -> Any:
    try:
        return _convert(parsed, kind)
    except MessageError:
        refuse_depth(parsed)
        raise


#: Where a misfit says that a time is meant.
_TIME_FIELDS = ("measured_at", "at", "from", "until", "since")


def _convert(parsed: object, kind: Any) -> Any:
    """Typed form of parsed JSON; a misfit becomes a MessageError that says where."""
    try:
        return msgspec.convert(parsed, kind)
    except UnicodeEncodeError as error:
        raise MessageError(
            "not_utf8", "a word of the contract is written with half of a surrogate pair"
        ) from error
    except OverflowError as error:
        raise MessageError("not_finite", f"a number is too large: {error}") from error
    except msgspec.ValidationError as error:
        code, text = _reason(str(error), parsed)
        raise MessageError(code, shorten(text)) from error


def _reason(text: str, parsed: object) -> tuple[str, str]:
    """Code and sentence of a misfit that msgspec found, in this contract's words."""
    what, _, where = text.rpartition(" - at `$")
    where = where.rstrip("`").removeprefix(".")
    if not what:
        what, where = text, ""
    given = parsed.get(where) if isinstance(parsed, dict) else None
    if what == "Number out of range":
        return "not_finite", f"`{where}` is too large for a number; a missing value is null with a status"
    if where == "schema" and type(given) is int:
        return "wrong_shape", f"`schema` is {given}, this version reads 1"
    if where in _TIME_FIELDS:
        if isinstance(given, str):
            what = f"{given[:40]!r} is not a time in the form 2026-07-01T08:00:00.000Z"
        return "bad_time", f"`{where}`: {what}"
    if where == "quantity" and isinstance(given, str):
        return "unknown_quantity", _unknown_quantity(where, given)
    what = what.replace(
        f"matching regex {ID_PATTERN!r}", "of lower-case letters, digits and hyphens (at most 63)"
    ).replace(f"matching regex {TIMESTAMP_PATTERN!r}", "like 2026-07-01T08:00:00.000Z")
    if "unknown field" in what:
        code = "unknown_field"
    elif "missing required field" in what:
        code = "missing_field"
    else:
        code = "wrong_shape"
    return code, f"`{where}`: {what}" if where else what
