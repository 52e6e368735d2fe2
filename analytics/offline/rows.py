"""Rows of a readings file as columns of numbers, each with what is wrong with it."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from analytics.offline.arrow import pa, pc
from gateway.contract.local_time import to_ms

Codes = NDArray[np.int32]

#: Text that the vectorised reading of times takes; what differs is looked at row by row.
_TIME_PATTERN = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?([Zz]|[+-]\d{2}:\d{2})$"
_MS_PER_UNIT = {"s": 1000, "ms": 1}
_UNITS_PER_MS = {"us": 1000, "ns": 1_000_000}


class Problem(IntEnum):
    """Why a row is refused; 0 is none. The first that applies is told."""

    NONE = 0
    COLUMNS = 1
    NO_POOL = 2
    UNKNOWN_POOL = 3
    NO_QUANTITY = 4
    UNKNOWN_QUANTITY = 5
    NO_SENSOR = 6
    UNKNOWN_SENSOR = 7
    UNKNOWN_STATUS = 8
    NO_TIME = 9
    NO_ZONE = 10
    BAD_TIME = 11
    NOT_A_NUMBER = 12
    INFINITE = 13
    NO_VALUE = 14
    SAME_TIME = 15
    SAME_SECOND = 16
    NOT_PUBLISHED = 17
    PUBLISHED_NO_ZONE = 18
    PUBLISHED_BAD_TIME = 19


@dataclass(frozen=True, slots=True)
class Words:
    """A column of few different texts: code of each row, -1 for an `absent` one, and the text of each code."""

    code: Codes
    words: tuple[str, ...]
    absent: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a file one after the other; columns of shape (n,).

    `first`: number of the first row, counted from 1 after the header. `skipped`: numbers of lines among them that have
    too few or too many columns, ascending; they are not in the columns. `value` is NaN where it is absent or not
    usable. `published`: when, as `at_ms` and `at_problem`, if the file says so.
    """

    first: int
    skipped: NDArray[np.int64]
    pool: Words
    sensor: Words
    quantity: Words
    status: Words | None
    at_ms: NDArray[np.int64]
    at_problem: NDArray[np.uint8] | None
    value: NDArray[np.floating]
    value_problem: NDArray[np.uint8] | None
    texts: dict[str, pa.Array] = field(repr=False)
    published: tuple[NDArray[np.int64], NDArray[np.uint8] | None] | None = None

    def __len__(self) -> int:
        return len(self.at_ms)

    def numbers(self, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """Numbers of rows in the file."""
        number = rows.astype(np.int64) + self.first
        # Each skipped line before a row moves it on by one.
        before = np.searchsorted(self.skipped - np.arange(len(self.skipped)), number, side="right")
        return number + before


def words_of(column: pa.Array) -> Words:
    """Codes and texts of a column of strings, dictionary-encoded or not; empty text is absent."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    indices = column.indices
    absent = indices.null_count > 0
    if absent:
        indices = indices.fill_null(-1)
    code = indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    texts = column.dictionary
    if pa.types.is_binary(texts.type) or pa.types.is_large_binary(texts.type):
        # Some writers of Parquet do not say that bytes are text.
        texts = texts.cast(pa.string())
    texts = texts.to_pylist()
    words = tuple("" if text is None else str(text).strip() for text in texts)
    if "" in words:
        blank = np.array([*(word == "" for word in words), True], dtype=np.bool_)
        code = np.where(blank[code], -1, code).astype(np.int32)
        absent = True
    return Words(code, words, absent)


def times_of(column: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8] | None]:
    """Milliseconds since the epoch, cut off to whole ones, of a column of timestamps with zone or of text; and problems."""
    if pa.types.is_timestamp(column.type):
        unit = column.type.unit
        missing = column.null_count > 0
        filled = column.cast(pa.int64())
        number = (filled.fill_null(0) if missing else filled).to_numpy(zero_copy_only=False)
        at_ms = number * _MS_PER_UNIT[unit] if unit in _MS_PER_UNIT else number // _UNITS_PER_MS[unit]
        if not missing:
            return at_ms, None
        null = column.is_null().to_numpy(zero_copy_only=False)
        return at_ms, np.where(null, Problem.NO_TIME, 0).astype(np.uint8)
    text = column.cast(pa.string())
    if not text.null_count:
        try:
            return _cast_times(text), None
        except pa.ArrowInvalid:
            pass
    usual = pc.match_substring_regex(text, _TIME_PATTERN).fill_null(False).to_numpy(zero_copy_only=False)
    at_ms = np.zeros(len(text), dtype=np.int64)
    problem = np.zeros(len(text), dtype=np.uint8)
    odd = np.flatnonzero(~usual)
    try:
        at_ms[usual] = _cast_times(text.filter(pa.array(usual)))
    except pa.ArrowInvalid:
        odd = np.arange(len(text))
    for row, words in zip(odd.tolist(), text.take(pa.array(odd)).to_pylist(), strict=True):
        at_ms[row], problem[row] = _one_time(words)
    return at_ms, problem


def _cast_times(text: pa.Array) -> NDArray[np.int64]:
    at_us: NDArray[np.int64] = (
        text.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy(zero_copy_only=False)
    )
    return at_us // _UNITS_PER_MS["us"]


def _one_time(text: str | None) -> tuple[int, Problem]:
    text = "" if text is None else text.strip()
    if not text:
        return 0, Problem.NO_TIME
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return 0, Problem.BAD_TIME
    if instant.tzinfo is None:
        return 0, Problem.NO_ZONE
    return to_ms(instant), Problem.NONE


def values_of(column: pa.Array) -> tuple[NDArray[np.floating], NDArray[np.uint8] | None]:
    """Numbers, float32 where the file has such, and problems; an absent value is NaN and a `NO_VALUE`."""
    value: NDArray[np.floating]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        value, problem = _text_values(column)
    else:
        number = column if pa.types.is_floating(column.type) else column.cast(pa.float64())
        value = number.to_numpy(zero_copy_only=False)
        value = value.astype(np.float32) if value.dtype == np.float16 else value
        problem = np.zeros(len(value), dtype=np.uint8) if column.null_count else None
        if problem is not None:
            problem[column.is_null().to_numpy(zero_copy_only=False)] = Problem.NO_VALUE
    finite = np.isfinite(value)
    if not finite.all():
        problem = np.zeros(len(value), dtype=np.uint8) if problem is None else problem
        untold = ~finite & (problem == 0)
        problem[untold & np.isnan(value)] = Problem.NOT_A_NUMBER
        problem[untold & ~np.isnan(value)] = Problem.INFINITE
        value = np.where(finite, value, np.nan).astype(value.dtype)
    return value, problem


def _text_values(column: pa.Array) -> tuple[NDArray[np.floating], NDArray[np.uint8] | None]:
    try:
        if not column.null_count:
            value: NDArray[np.floating] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            return value, None
    except pa.ArrowInvalid:
        pass
    number = np.full(len(column), np.nan)
    problem = np.zeros(len(column), dtype=np.uint8)
    for row, text in enumerate(column.to_pylist()):
        words = "" if text is None else text.strip()
        try:
            number[row] = float(words) if "_" not in words else math.nan
        except ValueError:
            problem[row] = Problem.NOT_A_NUMBER if words else Problem.NO_VALUE
    return number, problem
