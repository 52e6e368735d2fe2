"""Wire timestamps of thousands of readings, checked and read together. Pure.

The same rule as `gateway.contract.times.parse_timestamp`, whose answer for a single text is the measure of this.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LONG = len("2026-07-01T08:00:00.000Z")
_SHORT = len("2026-07-01T08:00:00Z")
#: Between two texts, so that each begins at a whole word of eight bytes. No text of the form has it.
_PADDING = "~" * 8
_STRIDE = _LONG + len(_PADDING)
_BAD = "~" * _LONG

_FORM = b"0000-00-00T00:00:00.000Z" + _PADDING.encode()
#: Exclusive or with the form leaves a digit's value, and 0 at each other place.
_TEMPLATE = np.frombuffer(_FORM, dtype="<u8")
#: Added to a byte below 128, sets its highest bit above 9 where a digit must be, above 0 elsewhere.
_ADDEND = np.frombuffer(bytes(0x76 if byte == ord("0") else 0x7F for byte in _FORM), dtype="<u8")
_LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
_HIGH_BITS = np.uint64(0x8080808080808080)
_TEN = np.uint64(10)
_EIGHT = np.uint64(8)

#: Days since 1970-01-01 of the first of each month; index 0 is January of the year 1, the last ends December 9999.
_MONTH_BEGINS = (
    np.arange("0001-01", "10000-02", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)
)
_MONTH_DAYS = np.diff(_MONTH_BEGINS)
_DAY_MS = 86_400_000


def read_timestamps(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Milliseconds since the epoch of wire timestamps.

    Parameters
    ----------
    texts : sequence of str
        RFC 3339 with `Z` and three decimals or none, or anything else.

    Returns
    -------
    instants_ms : ndarray of int64, shape (n,)
        [ms since the epoch]; of no meaning where not good.
    good : ndarray of bool, shape (n,)
        Whether the text is of the form and a real date and time.
    """
    if not texts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.bool_)
    joined = _join(texts)
    if len(joined) == _STRIDE * len(texts):
        instants_ms, good = _read(joined, len(texts))
        if good.all():
            return instants_ms, good
    return _read(_join([_lengthen(text) for text in texts]), len(texts))


def _join(texts: Sequence[str]) -> bytes:
    return (_PADDING.join(texts) + _PADDING).encode(errors="replace")


def _lengthen(text: str) -> str:
    """Form with decimals of a text; what can be no time becomes something that certainly is none."""
    if not text.isascii():
        return _BAD
    if len(text) == _SHORT:
        return f"{text[:-1]}.000{text[-1]}"
    return text if len(text) == _LONG else _BAD


def _read(joined: bytes, number: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    words = np.frombuffer(joined, dtype="<u8").reshape(number, _STRIDE // 8) ^ _TEMPLATE
    strays = ((words & _LOW_BITS) + _ADDEND) | words
    good = ((strays & _HIGH_BITS) == 0).all(axis=1)
    # Two digits in one step: byte i becomes 10 times itself and the byte after it. Sums stay below 256.
    pairs = (words * _TEN + (words >> _EIGHT)).view(np.uint8)
    year = pairs[:, 0].astype(np.int64) * 100 + pairs[:, 2]
    month = year * 12 + pairs[:, 5] - 13
    day = pairs[:, 8]
    hour, minute, second = pairs[:, 11], pairs[:, 14], pairs[:, 17]
    millisecond = pairs[:, 20] * np.int64(10) + words.view(np.uint8)[:, 22]
    good &= (year >= 1) & (pairs[:, 5] >= 1) & (pairs[:, 5] <= 12)  # noqa: PLR2004 - months
    month = np.where(good, month, 0)
    good &= (day >= 1) & (day <= _MONTH_DAYS[month]) & (hour <= 23) & (minute <= 59) & (second <= 59)  # noqa: PLR2004
    days = _MONTH_BEGINS[month] + day - 1
    seconds = (hour * np.int64(60) + minute) * np.int64(60) + second
    return days * _DAY_MS + seconds * np.int64(1000) + millisecond, good
