"""Cities made by Hypothesis: values around the ends of limits, gaps, ties, late readings, opening hours with odd edges."""

import random

import numpy as np
from hypothesis import strategies as st

from analytics.spans import FAR_MS
from tests.analytics.brute_force import End, Reading, Span
from tests.analytics.cities import ALWAYS, MINUTE_MS, START_MS, STEP_MS, City, Dtype, Row


def _values(end_low: float, end_high: float, hysteresis: float, dtype: Dtype) -> dict[str, float]:
    """Values that matter around the ends of a range, by a letter."""

    def step(value: float, to: float) -> float:
        return float(np.nextafter(dtype(value), dtype(to)))

    return {
        "i": (end_low + end_high) / 2,
        "h": end_high + 0.2,
        "H": end_high + 0.4,
        "l": end_low - 0.2,
        "e": end_high,
        "f": end_low,
        "x": step(end_high, 9.0),
        "y": step(end_low, -9.0),
        "w": end_high - hysteresis,
        "b": step(end_high - hysteresis, 9.0),
        "v": end_low + hysteresis,
        "c": step(end_low + hysteresis, -9.0),
    }


_DTYPES: tuple[Dtype, ...] = (np.float32, np.float64)
#: Minutes around those that confirm, clear, or make a gap.
_LENGTHS = (1, 2, 3, 4, 5, 6, 7, 14, 15)
_LETTERS = "iiihhHlefxywbvc.."


@st.composite
def _spans(draw: st.DrawFn, n_steps: int, most: int) -> list[Span]:
    """Disjoint intervals that do not touch, around the history, often from and to the second of a reading."""
    edges = draw(
        st.lists(st.integers(-5, n_steps + 30), min_size=0, max_size=2 * most, unique=True).map(sorted)
    )
    fine = draw(st.sampled_from([0, 0, 0, 1, 29_999]))
    pairs = zip(edges[::2], edges[1::2], strict=False)
    return [(START_MS + a * MINUTE_MS + fine, START_MS + b * MINUTE_MS + fine) for a, b in pairs]


@st.composite
def _opening(draw: st.DrawFn, n_steps: int, now_ms: int) -> list[Span]:
    """Opening hours; some pools close, or open, at the very instant of judging."""
    spans = draw(st.one_of(st.just(ALWAYS), _spans(n_steps, 4)))
    at_now = draw(st.sampled_from(["nothing", "nothing", "nothing", "closes", "opens"]))
    if at_now == "closes":
        return [(opens, min(closes, now_ms)) for opens, closes in spans if opens < now_ms]
    if at_now == "opens":
        before = [(opens, min(closes, now_ms - 1)) for opens, closes in spans if opens < now_ms - 1]
        return [*before, (now_ms, now_ms + MINUTE_MS)]
    return spans


@st.composite
def _readings(draw: st.DrawFn, values: dict[str, float], n_steps: int) -> list[Reading]:
    """Stretches of one letter each, at drawn places in their minutes, some minutes twice, in any order."""
    stretches = draw(
        st.lists(st.tuples(st.sampled_from(_LETTERS), st.sampled_from(_LENGTHS)), min_size=0, max_size=10)
    )
    dice = random.Random(draw(st.integers(0, 2**16)))
    ragged = draw(st.sampled_from([0.0, 0.0, 0.2]))
    late = draw(st.booleans())
    letters = "".join(letter * length for letter, length in stretches)[:n_steps]
    readings = []
    for step, letter in enumerate(letters):
        for _ in range(2 if dice.random() < ragged else 1):
            offset = 0 if ragged == 0.0 else dice.choice([0, 1, 30_000, 59_999])
            shown = dice.choice(_LETTERS) if dice.random() < ragged else letter
            if shown != ".":
                readings.append((START_MS + step * STEP_MS + offset, values[shown]))
            elif late:
                readings.append((START_MS + step * STEP_MS + offset, float("nan")))
    if late:
        dice.shuffle(readings)
    return readings


@st.composite
def cities(draw: st.DrawFn, *, most_pools: int = 3) -> City:
    """Pools with one or two series of one quantity each, and everything that can be drawn about them."""
    n_steps = draw(st.sampled_from([1, 7, 60, 90]))
    dtype = draw(st.sampled_from(_DTYPES))
    hysteresis = draw(st.sampled_from([0.0, 0.02, 0.05]))
    low, high = draw(st.sampled_from([(0.3, 1.0), (7.0, 7.8), (0.0, 0.4)]))
    values = _values(low, high, hysteresis, dtype)
    closed = draw(st.booleans())
    in_force = draw(
        st.sampled_from(
            [(-FAR_MS, FAR_MS), (-FAR_MS, FAR_MS), (-20, 25), (8, 40), (3, 1000), (-FAR_MS, 20), (9, FAR_MS)]
        )
    )
    fine = draw(st.sampled_from([0, 500]))
    from_ms, to_ms = (at if abs(at) == FAR_MS else START_MS + at * MINUTE_MS + fine for at in in_force)
    readings: list[list[Reading]] = []
    rows: list[Row] = []
    pool_of: list[int] = []
    n_pools = draw(st.integers(1, most_pools))
    for pool in range(n_pools):
        for _ in range(draw(st.integers(1, 2))):
            series = len(readings)
            readings.append(draw(_readings(values, n_steps)))
            pool_of.append(pool)
            sides = draw(st.sampled_from([(True, False), (True,), (False,), ()]))
            rows += [
                Row(
                    series,
                    End(side, high, closed, high - hysteresis, from_ms, to_ms)
                    if side
                    else End(side, low, closed, low + hysteresis, from_ms, to_ms),
                )
                for side in sides
            ]
    newest = max((at for part in readings for at, _ in part), default=START_MS)
    now_ms = newest + draw(st.sampled_from([0, 0, 1, *(minute * MINUTE_MS for minute in (1, 2, 4, 15, 40))]))
    begins = st.sampled_from([-FAR_MS, START_MS, START_MS + 17 * MINUTE_MS + 1])
    return City(
        readings=readings,
        rows=rows,
        pool_of=pool_of,
        group=pool_of,
        gap_ms=[draw(st.sampled_from([2, 4, 15])) * MINUTE_MS for _ in readings],
        age_ms=[draw(st.sampled_from([2, 4, 15])) * MINUTE_MS for _ in range(n_pools)],
        opening=[draw(_opening(n_steps, now_ms)) for _ in range(n_pools)],
        bound=[draw(st.one_of(st.just(ALWAYS), _spans(n_steps, 2))) for _ in range(n_pools)],
        begin_ms=[draw(begins) for _ in range(n_pools)],
        confirm_ms=draw(st.sampled_from([0, 60_000, 299_999, 300_000])),
        clear_ms=draw(st.sampled_from([0, 60_000, 300_000])),
        n_steps=n_steps,
        now_ms=now_ms,
        dtype=dtype,
    )
