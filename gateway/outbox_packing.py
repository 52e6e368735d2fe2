"""Many kept messages ↔ one compressed group, byte for byte; and what became of each member. Pure.

Messages of one gateway differ in little but times and values: some 390 bytes of JSON take about 23 in a group.
"""

import zlib
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

#: A message that the broker took this often without a receipt goes to the dead letters.
MOST_PUBACKS = 5
#: What became of a message: up to four PUBACKs without receipt, …
DEAD = MOST_PUBACKS
#: … five while other receipts came; five while none came at all, so that ingest was away; …
DEAD_IN_SILENCE = 6
#: … or it is no longer here: confirmed, or dropped.
GONE = 255

#: A group covers this many consecutive message ids. More compress hardly better, and would take longer at once.
GROUP_SPAN = 256

_LEVEL = 6
#: Every pending state becomes 0, every other one 1, so that `find` and `count` see them.
_AS_PENDING = bytes(state >= MOST_PUBACKS for state in range(256))
_DECODER = msgspec.msgpack.Decoder(tuple[list[str], bytes, list[int], list[int], list[int]])


class Member(NamedTuple):
    """A message in a group, by its place from the group's first id on."""

    place: int
    topic: str
    payload: bytes
    created_at_ms: int


class Left(NamedTuple):
    """How much of a group is left: messages and readings that are pending and dead, and the dead ones in silence."""

    pending: int
    readings_pending: int
    dead: int
    readings_dead: int
    silent: int


def pack(members: Sequence[Member]) -> bytes:
    """Bytes of a group, from members in ascending places."""
    topics = sorted({member.topic for member in members})
    number = {topic: index for index, topic in enumerate(topics)}
    # Alike beside alike: columns of small numbers, then the payloads in their order.
    plain = msgspec.msgpack.encode(
        (
            topics,
            b"".join(member.payload for member in members),
            [member.place for member in members],
            [number[member.topic] for member in members],
            [value for member in members for value in (len(member.payload), member.created_at_ms)],
        )
    )
    return zlib.compress(plain, _LEVEL)


def unpack(body: bytes) -> list[Member]:
    """Members of a group, as they were packed.

    Raises
    ------
    ValueError
        If these are not the bytes of a group.
    """
    try:
        topics, joined, places, numbers, pairs = _DECODER.decode(zlib.decompress(body))
        sizes, created = pairs[::2], pairs[1::2]
        members = []
        begin = 0
        for place, number, size, created_at_ms in zip(places, numbers, sizes, created, strict=True):
            members.append(Member(place, topics[number], joined[begin : begin + size], created_at_ms))
            begin += size
    except (zlib.error, msgspec.MsgspecError, IndexError) as error:
        raise ValueError(f"these are not the bytes of a group: {error}") from error
    if begin != len(joined):
        raise ValueError("these are not the bytes of a group: its payloads have another length")
    return members


def is_pending(state: int) -> bool:
    """Whether a message in this state is still to be sent."""
    return state < MOST_PUBACKS


def first_and_last_pending(states: bytes, begin: int, end: int) -> tuple[int, int] | None:
    """First and last pending place within [begin, end), or None."""
    seen = states.translate(_AS_PENDING)
    first = seen.find(0, begin, end)
    return None if first < 0 else (first, seen.rfind(0, begin, end))


def readings_as_bytes(readings: Sequence[int]) -> bytes:
    """Counts of readings as bytes; a message carries at most 500."""
    return array("H", readings).tobytes()


def readings_of_bytes(packed: bytes) -> Sequence[int]:
    """Counts of readings from `readings_as_bytes`."""
    counts = array("H")
    counts.frombytes(packed)
    return counts


def left_of(states: bytes, readings: bytes) -> Left:
    """What is left of a group whose members are in these states."""
    pending = readings_pending = dead = readings_dead = silent = 0
    for state, count in zip(states, readings_of_bytes(readings), strict=True):
        if state < MOST_PUBACKS:
            pending += 1
            readings_pending += count
        elif state != GONE:
            dead += 1
            readings_dead += count
            silent += state == DEAD_IN_SILENCE
    return Left(pending, readings_pending, dead, readings_dead, silent)
