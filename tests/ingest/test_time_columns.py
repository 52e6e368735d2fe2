import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.errors import ContractError
from gateway.contract.times import parse_timestamp
from ingest.time_columns import read_timestamps


def one_by_one(text: str) -> int | None:
    try:
        return parse_timestamp(text)
    except ContractError:
        return None


def together(texts: list[str]) -> list[int | None]:
    instants_ms, good = read_timestamps(texts)
    assert instants_ms.dtype == np.int64
    assert good.dtype == np.bool_
    return [
        instant if fits else None for instant, fits in zip(instants_ms.tolist(), good.tolist(), strict=True)
    ]


_TIMES = st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='milliseconds')}Z")
_FIELDS = st.tuples(
    st.sampled_from(["0000", "0001", "1900", "1999", "2000", "2024", "2026", "2100", "9999"]),
    *(st.integers(0, most) for most in (13, 32, 25, 60, 60, 999)),
)
_SPELT = _FIELDS.map(lambda f: f"{f[0]}-{f[1]:02}-{f[2]:02}T{f[3]:02}:{f[4]:02}:{f[5]:02}.{f[6]:03}Z")
_SHORT = st.one_of(_SPELT, _TIMES).map(lambda text: f"{text[:19]}Z")
_CHARACTERS = st.one_of(
    st.characters(max_codepoint=127), st.characters(), st.characters(categories=["Nd", "Cs"])
)


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    """A time with some characters replaced, removed or put in."""
    text = draw(st.one_of(_TIMES, _SPELT, _SHORT))
    for _ in range(draw(st.integers(1, 2))):
        begin = draw(st.integers(0, len(text)))
        end = begin + draw(st.integers(0, 2))
        text = text[:begin] + draw(st.text(_CHARACTERS, max_size=2)) + text[end:]
    return text


@given(st.lists(st.one_of(_TIMES, _SPELT, _SHORT, _damaged(), st.text()), max_size=12))
def test_many_together_are_read_as_each_by_itself(texts: list[str]) -> None:
    assert together(texts) == [one_by_one(text) for text in texts]


@given(st.lists(_TIMES, min_size=1, max_size=40))
def test_usual_times_are_all_read(texts: list[str]) -> None:
    assert together(texts) == [parse_timestamp(text) for text in texts]


def test_every_byte_at_every_place_is_judged_alike() -> None:
    good = "2026-07-01T08:10:20.345Z"
    texts = [f"{good[:place]}{chr(byte)}{good[place + 1 :]}" for place in range(24) for byte in range(256)]
    assert together(texts) == [one_by_one(text) for text in texts]
    assert together([text[:19] + text[-1] for text in texts]) == [
        one_by_one(text[:19] + text[-1]) for text in texts
    ]


def test_every_day_of_the_calendar_is_counted_as_the_standard_library_does() -> None:
    texts = [
        f"{year:04}-{month:02}-{day:02}T12:34:56.789Z"
        for year in (1, 4, 100, 400, 1600, 1899, 1900, 1969, 1970, 1972, 2000, 2023, 2024, 2100, 2400, 9999)
        for month in range(14)
        for day in range(33)
    ]
    assert together(texts) == [one_by_one(text) for text in texts]


@pytest.mark.parametrize(
    "texts",
    [
        # Wrong lengths that make up for one another.
        ["2026-07-01T08:00:00.000ZZ", "2026-07-01T08:00:00.000"],
        ["2026-07-01T08:00:00.000Z~~~~~~~~2026-07-01T08:00:00.000Z", ""],
        ["", "", ""],
        ["2026-07-01T08:00:00Z", "2026-07-01T08:00:00.000Z"],
        ["２026-07-01T08:00:00.000Z"],
        [],
    ],
)
def test_lengths_are_those_of_each_text(texts: list[str]) -> None:
    assert together(texts) == [one_by_one(text) for text in texts]
