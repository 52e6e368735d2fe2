"""Readings messages in their usual form, decoded straight from bytes. What is not usual is left to `codec`.

A shortcut and never a second opinion: what is taken here, `codec.decode_message` takes too and reads the same. Texts are
not looked at: who calls compares ids with the registry's, and times, statuses and the boot with their forms.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from gateway.contract.readings import BOOT_ID_PATTERN, SchemaNumber, Seq
from gateway.contract.strict_json import MAX_PAYLOAD_BYTES

_BOOT_ID = re.compile(BOOT_ID_PATTERN)


class UsualReading(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A reading without `by` and `method`. A status that was left out is UNSET."""

    sensor_id: str
    quantity: str
    measured_at: str
    value: float | None
    status: str | UnsetType = UNSET


class UsualMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An envelope of them."""

    schema: SchemaNumber
    gateway_id: str
    boot_id: str
    seq: Seq
    readings: list[UsualReading]


_decode = msgspec.json.Decoder(UsualMessage).decode
# Many payloads are decoded as one array, which costs less than each by itself. A payload may be any bytes, of several
# messages or parts of one too. The mark between two payloads can only be an element of the array itself: no text has a
# raw line break, and nothing within a message may be null where a comma is. So if marks and messages alternate, each
# payload is one message.
_decode_array = msgspec.json.Decoder(list[UsualMessage | None]).decode
_MARK = b",\nnull,"
# How many quotation marks a decoded payload has. The decoder keeps the last of two equal keys silently; but all keys and
# texts of the form are known, and without an escape each has two marks: any text more shows.
#: Of the envelope: five keys and two texts.
ENVELOPE_MARKS = 2 * (5 + 2)
#: Of each reading: four keys and three texts.
READING_MARKS = 2 * (4 + 3)
#: Of each status that was said.
STATUS_MARKS = 2 * (1 + 1)


def decode_usual(payload: bytes) -> UsualMessage | None:
    """Message of a payload; None if it is too large, has an escape, or does not fit.

    A key that is there twice is not seen here: count the payload's quotation marks.
    """
    if len(payload) > MAX_PAYLOAD_BYTES or b"\\" in payload:
        return None
    try:
        return _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class UsualMessages(NamedTuple):
    """Messages of some payloads, and how many quotation marks those have together."""

    messages: list[UsualMessage]
    marks: int


def decode_usual_together(payloads: Sequence[bytes]) -> UsualMessages | None:
    """Messages of payloads that each have the usual form; None if one has not, and then each is to be looked at by itself.

    As `decode_usual`, at less cost.
    """
    if not payloads or max(map(len, payloads)) > MAX_PAYLOAD_BYTES:
        return None
    joined = b"[%b]" % _MARK.join(payloads)
    if b"\\" in joined:
        return None
    try:
        elements = _decode_array(joined)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    messages = [element for element in elements[::2] if element is not None]
    if len(messages) != len(payloads) or len(elements) != 2 * len(payloads) - 1:
        return None
    return UsualMessages(messages, joined.count(b'"'))


@lru_cache(maxsize=65_536)
def is_boot_id(text: str) -> bool:
    """Whether a text has the form of a boot id."""
    return _BOOT_ID.match(text) is not None
