"""Blocks: the messages of one commit as bytes, and the chain of their hashes. Pure.

A block's body is a msgpack array of messages, each an array [topic, payload, received_at_ms, kind, gateway_id, boot_id,
seq, items, outcome, refusals]; the last two are left out of a message that was accepted whole.
"""

import hashlib
import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from ingest.journal.records import JournalMessage, Outcome
from ingest.validation import Refusal

#: The hash that the first block is chained to.
GENESIS = bytes(32)
#: `kind` of a message whose topic is outside the contract.
UNKNOWN_KIND = "unknown"
_DAY_MS = 86_400_000
_HEADER = struct.Struct(">QQQI")


class Head(NamedTuple):
    """An end of the chain: the last message's id and its block's hash."""

    message_id: int
    hash: bytes


class Block(NamedTuple):
    """One link of the chain: `length` messages from `first_id`."""

    first_id: int
    length: int
    hash: bytes
    body: bytes

    @property
    def head(self) -> Head:
        """The end of a chain whose last block this is."""
        return Head(self.first_id + self.length - 1, self.hash)


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message within a block."""

    topic: str
    payload: bytes
    received_at_ms: int
    kind: str
    gateway_id: str
    boot_id: str | None
    seq: int | None
    items: int
    outcome: Outcome = Outcome.ACCEPTED
    refusals: tuple[Refusal, ...] = ()

    @property
    def is_keyed(self) -> bool:
        """Whether it carries a (gateway, boot, seq) that can be believed."""
        return self.seq is not None and self.boot_id is not None

    @property
    def refused_items(self) -> int:
        """How many of its items were refused, when it was not refused as a whole."""
        return sum(1 for refusal in self.refusals if refusal.position is not None)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Record])
_RAW_DECODER = msgspec.msgpack.Decoder(list[msgspec.Raw])
_RECORD_DECODER = msgspec.msgpack.Decoder(Record)


def encode_body(records: Iterable[Record | tuple[object, ...]]) -> bytes:
    """Body of a block; a tuple stands for the fields of a `Record`, trailing defaults left out."""
    return _ENCODER.encode(records)


def decode_body(body: bytes) -> list[Record]:
    """Messages of a block.

    Raises
    ------
    msgspec.MsgspecError
        If it is no body.
    """
    return _DECODER.decode(body)


def split_body(body: bytes) -> list[msgspec.Raw]:
    """Messages of a block, each still encoded: a look-up of one need not make objects of all.

    Raises
    ------
    msgspec.MsgspecError
        If it is no body.
    """
    return _RAW_DECODER.decode(body)


def decode_record(raw: msgspec.Raw) -> Record:
    """One message of a split body.

    Raises
    ------
    msgspec.MsgspecError
        If it is no message.
    """
    return _RECORD_DECODER.decode(raw)


def chain_hash(previous: bytes, *, day: int, first_id: int, count: int, body: bytes) -> bytes:
    """SHA-256 of the hash before, the block's header (four big-endian numbers) and its body."""
    digest = hashlib.sha256(previous + _HEADER.pack(day, first_id, count, len(body)))
    digest.update(body)
    return digest.digest()


def make_block(previous: Head, *, day: int, count: int, body: bytes) -> Block:
    """Block of `count` messages that follows `previous`."""
    first_id = previous.message_id + 1
    return Block(
        first_id,
        count,
        chain_hash(previous.hash, day=day, first_id=first_id, count=count, body=body),
        body,
    )


def fits(block: Block, previous: Head, *, day: int) -> bool:
    """Whether a block's hash is what its content and the block before give."""
    return block.hash == chain_hash(
        previous.hash, day=day, first_id=block.first_id, count=block.length, body=block.body
    )


def day_of(instant_ms: int) -> int:
    """UTC day of an instant, counted from 1970-01-01."""
    return instant_ms // _DAY_MS


def day_name(day: int) -> str:
    """Name of a day, as in `2026-11-24`."""
    return datetime.fromtimestamp(day * (_DAY_MS // 1000), tz=UTC).date().isoformat()


def message_of(record: Record, message_id: int) -> JournalMessage:
    """A record as others see it."""
    return JournalMessage(
        message_id,
        record.topic,
        record.payload,
        record.received_at_ms,
        record.outcome,
        record.kind,
        record.gateway_id,
        record.boot_id,
        record.seq,
        record.items,
        record.refusals,
    )


def content_digest(topic: str, payload: bytes) -> bytes:
    """128 bits of SHA-256 over topic and payload: finds a message that no key can find."""
    return hashlib.sha256(topic.encode("utf-8", "surrogatepass") + b"\0" + payload).digest()[:16]
