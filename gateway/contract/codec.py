"""Bytes ↔ messages. Strict: what does not fit is refused with a precise reason, a whole message or a single item.

A message is refused whole (`MessageError`) when its envelope cannot be trusted. An item of a good envelope is refused
alone (`RefusedItem`), and its neighbours go on.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec

from gateway.contract.errors import ContractError, MessageError
from gateway.contract.logbook import EntryKind, LogbookEntry, LogbookMessage
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
from gateway.contract.times import parse_timestamp
from gateway.contract.topics import Topic, TopicKind

#: A payload above this is refused; the broker itself refuses above four times this.
MAX_PAYLOAD_BYTES = 64 * 1024
MAX_READINGS = 500
MAX_ENTRIES = 100
#: An envelope with flat items is three deep; a little more is told from nonsense by its types.
MAX_DEPTH = 8

_ENCODER = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class RefusedItem:
    """An item of a message that was refused alone: its position from 0, the reason's code and its text."""

    position: int
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message taken apart. `positions[i]` is the place in the message of `items[i]`."""

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


class _DuplicateKeyError(ValueError):
    """A JSON object that has a key twice: which of the two was meant, nobody knows."""


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
    receipt: Receipt = _convert(_parse(payload), Receipt)
    for first, last in receipt.stored:
        if last < first:
            raise MessageError("wrong_shape", f"a receipt's range ends before it begins: [{first}, {last}]")
    return receipt


def decode_status(payload: bytes) -> GatewayStatus:
    """Status of a payload; MessageError if it is none."""
    status: GatewayStatus = _convert(_parse(payload), GatewayStatus)
    return status


def decode_message(topic: Topic, payload: bytes) -> Envelope:
    """Take a message of readings or logbook entries apart.

    Raises
    ------
    MessageError
        If the whole message is refused. Codes: ``too_large``, ``not_utf8``, ``malformed_json``, ``not_finite``,
        ``duplicate_key``, ``too_deep``, ``wrong_shape``, ``unknown_field``, ``too_many``, ``empty``,
        ``gateway_mismatch``.
    """
    parsed = _parse(payload)
    if not isinstance(parsed, dict):
        raise MessageError("wrong_shape", f"the payload is a JSON {_json_type(parsed)}, it must be an object")
    name, most = ("readings", MAX_READINGS) if topic.kind is TopicKind.READINGS else ("entries", MAX_ENTRIES)
    raw_items = parsed.pop(name, None)
    header: _Header = _convert(parsed, _Header)
    if not isinstance(raw_items, list):
        found = "is missing" if raw_items is None else f"is a JSON {_json_type(raw_items)}"
        raise MessageError("wrong_shape", f"`{name}` {found}, it must be an array")
    if not raw_items:
        raise MessageError("empty", f"`{name}` is empty: a message carries at least one")
    if len(raw_items) > most:
        raise MessageError(
            "too_many", f"`{name}` has {len(raw_items)} items, at most {most} are taken: split them"
        )
    if header.gateway_id != topic.gateway_id:
        raise MessageError(
            "gateway_mismatch",
            f"the payload says gateway {header.gateway_id!r}, its topic {topic.gateway_id!r}: they must agree",
        )
    check = _check_reading if topic.kind is TopicKind.READINGS else _check_entry
    items: list[Any] = []
    positions: list[int] = []
    refused: list[RefusedItem] = []
    for position, raw in enumerate(raw_items):
        try:
            items.append(check(raw))
        except MessageError as error:
            if _deeper_than(raw, MAX_DEPTH - 2):
                raise MessageError(
                    "too_deep", f"`{name}[{position}]` nests deeper than {MAX_DEPTH} levels"
                ) from error
            refused.append(RefusedItem(position, error.code, f"`{name}[{position}]`: {error.text}"))
        else:
            positions.append(position)
    return Envelope(
        kind=topic.kind,
        gateway_id=header.gateway_id,
        boot_id=header.boot_id,
        seq=header.seq,
        items=items,
        positions=positions,
        refused=refused,
    )


def _check_reading(raw: object) -> Reading:
    reading: Reading = _convert(raw, Reading)
    if reading.value is None:
        if reading.status in RESULT_STATUSES:
            raise MessageError(
                "missing_value", f"`value` is null, which status {reading.status.value!r} does not allow"
            )
    elif not math.isfinite(reading.value):
        raise MessageError("not_finite", "`value` is too large for a number")
    _check_timestamp("measured_at", reading.measured_at)
    _check_text("by", reading.by)
    _check_text("method", reading.method)
    return reading


#: The optional fields that a kind of entry cannot do without.
_NEEDED: dict[EntryKind, tuple[str, ...]] = {
    EntryKind.MAINTENANCE: ("from_", "until"),
    EntryKind.CALIBRATION: ("sensor_id",),
    EntryKind.LABORATORY_REPORT: ("passed",),
    EntryKind.CORRECTION: ("refers_to",),
    EntryKind.ACKNOWLEDGEMENT: ("refers_to",),
    EntryKind.NOTICE_BOARD: ("measured_at", "quantities"),
}


def _check_entry(raw: object) -> LogbookEntry:
    entry: LogbookEntry = _convert(raw, LogbookEntry)
    for name in _NEEDED.get(entry.kind, ()):
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
    for name in ("by", "text", "refers_to"):
        _check_text(name, getattr(entry, name))
    for quantity in entry.quantities or ():
        _check_text("quantities", quantity)
    return entry


def _check_timestamp(name: str, text: str) -> None:
    try:
        parse_timestamp(text)
    except ContractError as error:
        raise MessageError("bad_time", f"`{name}`: {error}") from error


def _check_text(name: str, text: str | None) -> None:
    """A lone surrogate passes JSON, and no store."""
    if text is not None and not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise MessageError(
                "not_utf8", f"`{name}` has half of a surrogate pair at character {error.start}"
            ) from error


def _convert(parsed: object, kind: Any) -> Any:
    """Typed form of parsed JSON; a misfit becomes a MessageError that says where."""
    try:
        return msgspec.convert(parsed, kind)
    except (msgspec.ValidationError, OverflowError) as error:
        text = str(error)
        raise MessageError(_code_of(text), _plain(text)) from error


def _code_of(text: str) -> str:
    if "unknown field" in text:
        return "unknown_field"
    if "missing required field" in text:
        return "missing_field"
    if "$.measured_at" in text or "$.at" in text:
        return "bad_time"
    if "$.quantity" in text:
        return "unknown_quantity"
    return "wrong_shape"


def _plain(text: str) -> str:
    text = text.replace(" - at `$.", ", in `").replace(" - at `$`", "")
    return text.replace(
        f"matching regex {ID_PATTERN!r}", "of lower-case letters, digits and hyphens (at most 63)"
    )


def _parse(payload: bytes) -> object:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageError(
            "too_large", f"{len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are taken: split the message"
        )
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MessageError("not_utf8", f"byte {error.start} is not UTF-8") from error
    try:
        return _DECODER.decode(text)
    except _DuplicateKeyError as error:
        raise MessageError("duplicate_key", str(error)) from error
    except _NotFiniteError as error:
        raise MessageError("not_finite", str(error)) from error
    except RecursionError as error:
        raise MessageError("too_deep", f"nests deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:  # JSONDecodeError, and integers of thousands of digits
        raise MessageError("malformed_json", f"not JSON: {error}") from error


class _NotFiniteError(ValueError):
    """NaN and infinities are no JSON, though many parsers take them."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NotFiniteError(
        f"{name} is not a number of JSON; a missing value is null with a status that says why"
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(f"the key {key[:80]!r} is there twice in one object")
            seen.add(key)
    return unique


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _json_type(parsed: object) -> str:
    names: dict[type, str] = {
        dict: "object",
        list: "array",
        str: "string",
        bool: "boolean",
        type(None): "null",
    }
    return names.get(type(parsed), "number")


def _deeper_than(parsed: object, levels: int) -> bool:
    if not isinstance(parsed, dict | list):
        return False
    if levels == 0:
        return True
    inner = parsed.values() if isinstance(parsed, dict) else parsed
    return any(_deeper_than(child, levels - 1) for child in inner)
