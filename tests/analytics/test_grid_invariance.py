"""Whole histories: what must not change a verdict of the vectorised core, and what must move it along."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.spans import FAR_MS
from tests.analytics.brute_force import Lapse, Piece, Span
from tests.analytics.cities import MINUTE_MS, START_MS, City, Judged, Row, judge_fast, minutes
from tests.analytics.drawn_cities import cities


def _moved(city: City, by_ms: int) -> City:
    def spans(parts: list[list[Span]]) -> list[list[Span]]:
        return [[(_later(a, by_ms), _later(b, by_ms)) for a, b in part] for part in parts]

    return replace(
        city,
        readings=[[(when + by_ms, value) for when, value in part] for part in city.readings],
        rows=[
            Row(
                row.series,
                replace(row.end, from_ms=_later(row.end.from_ms, by_ms), to_ms=_later(row.end.to_ms, by_ms)),
            )
            for row in city.rows
        ],
        opening=spans(city.opening),
        bound=spans(city.bound),
        begin_ms=[_later(when, by_ms) for when in city.begin_ms],
        now_ms=city.now_ms + by_ms,
        start_ms=city.start_ms + by_ms - by_ms % MINUTE_MS,
        n_steps=city.n_steps + 1,
    )


def _later(when: int, by_ms: int) -> int:
    return when if abs(when) == FAR_MS else when + by_ms


def _moved_verdicts(judged: Judged, by_ms: int) -> Judged:
    def moved(when: int | None) -> int | None:
        return None if when is None else when + by_ms

    return Judged(
        [
            [Piece(p.start_ms + by_ms, moved(p.end_ms), p.worst, moved(p.unverified_since_ms)) for p in part]
            for part in judged.exceedances
        ],
        [[Lapse(lapse.start_ms + by_ms, moved(lapse.end_ms)) for lapse in part] for part in judged.lapses],
    )


def _one_a_minute(city: City) -> City:
    """Only the readings that the grid keeps, on the minute: then a shift cannot make two share a cell, or part them."""
    parts = []
    for part in city.readings:
        latest = {when // MINUTE_MS: value for when, value in sorted(part, key=lambda reading: reading[0])}
        parts.append([(step * MINUTE_MS, value) for step, value in latest.items()])
    return replace(city, readings=parts)


@settings(max_examples=60, deadline=None)
@given(city=cities(), by_ms=st.sampled_from([1, 59_999, -86_400_000, 31_536_000_123]))
def test_shifting_time_shifts_verdicts(city: City, by_ms: int) -> None:
    city = _one_a_minute(city)
    assert judge_fast(_moved(city, by_ms)) == _moved_verdicts(judge_fast(city), by_ms)


@settings(max_examples=60, deadline=None)
@given(first=cities(most_pools=2), second=cities(most_pools=2))
def test_two_cities_together_are_judged_as_apart(first: City, second: City) -> None:
    now_ms = max(first.now_ms, second.now_ms)
    n_steps = max(first.n_steps, second.n_steps)
    first = replace(first, now_ms=now_ms, n_steps=n_steps)
    second = replace(
        second,
        now_ms=now_ms,
        n_steps=n_steps,
        confirm_ms=first.confirm_ms,
        clear_ms=first.clear_ms,
        dtype=first.dtype,
    )
    n_series, n_pools = len(first.readings), len(first.opening)
    together = replace(
        first,
        readings=first.readings + second.readings,
        rows=first.rows + [Row(row.series + n_series, row.end) for row in second.rows],
        pool_of=first.pool_of + [pool + n_pools for pool in second.pool_of],
        group=first.group + [group + n_pools for group in second.group],
        gap_ms=first.gap_ms + second.gap_ms,
        age_ms=first.age_ms + second.age_ms,
        opening=first.opening + second.opening,
        bound=first.bound + second.bound,
        begin_ms=first.begin_ms + second.begin_ms,
    )
    apart = judge_fast(first), judge_fast(second)
    assert judge_fast(together) == Judged(
        apart[0].exceedances + apart[1].exceedances, apart[0].lapses + apart[1].lapses
    )


@settings(max_examples=60, deadline=None)
@given(city=cities(), dice=st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(city: City, dice: random.Random) -> None:
    shuffled = [dice.sample(part, len(part)) for part in _one_a_minute(city).readings]
    assert judge_fast(replace(city, readings=shuffled)) == judge_fast(_one_a_minute(city))


@settings(max_examples=100, deadline=None)
@given(city=cities(), earlier=st.lists(st.sampled_from([0.5, 0.99, 2.0, -1.0, None]), max_size=40))
def test_readings_before_a_silent_night_change_no_exceedance_after_it(
    city: City, earlier: list[float | None]
) -> None:
    """A gap with closed time in it ends runs, clearings and exceedances: nothing connects what lies before and after."""
    morning_ms = len(earlier) * MINUTE_MS + 2 * max(city.gap_ms)
    moved = _moved(city, morning_ms)
    city = replace(
        moved,
        start_ms=START_MS,
        n_steps=city.n_steps + morning_ms // MINUTE_MS + 1,
        opening=[
            [(max(a, START_MS + morning_ms), b) for a, b in part if b > START_MS + morning_ms]
            for part in moved.opening
        ],
    )
    with_more = replace(city, readings=[minutes(*earlier) + part for part in city.readings])
    assert judge_fast(with_more).exceedances == judge_fast(city).exceedances


@settings(max_examples=100, deadline=None)
@given(
    city=cities(),
    usual=st.integers(7, 20),
    later=st.lists(st.sampled_from([0.5, 0.99, 2.0, -1.0, None]), max_size=40),
)
def test_readings_after_a_clearing_change_no_exceedance_that_began_before(
    city: City, usual: int, later: list[float | None]
) -> None:
    """Usual readings for longer than any clearing end what there was; what follows cannot reach back over them."""
    n = city.n_steps
    values = []
    for series in range(len(city.readings)):
        ends = [row.end for row in city.rows if row.series == series]
        highs = [end.value - 0.2 for end in ends if end.high]
        values.append(highs[0] if highs else ends[0].value + 0.2 if ends else 0.0)
    in_force = [Row(row.series, replace(row.end, from_ms=-FAR_MS, to_ms=FAR_MS)) for row in city.rows]
    cleared_ms = START_MS + (n + usual) * MINUTE_MS
    city = replace(
        city,
        rows=in_force,
        readings=[
            part + minutes(*[value] * usual, first=n)
            for part, value in zip(city.readings, values, strict=True)
        ],
        n_steps=n + usual + len(later),
        now_ms=cleared_ms + len(later) * MINUTE_MS,
    )
    with_more = replace(city, readings=[part + minutes(*later, first=n + usual) for part in city.readings])

    def before(judged: Judged) -> list[list[Piece]]:
        return [[piece for piece in part if piece.start_ms < cleared_ms] for part in judged.exceedances]

    assert before(judge_fast(with_more)) == before(judge_fast(city))


@settings(max_examples=60, deadline=None)
@given(city=cities())
def test_readings_that_another_covers_change_no_lapse(city: City) -> None:
    """A second sensor that measures nothing young enough by itself, where the first does, changes no lapse."""
    copied = replace(
        city,
        readings=[part for part in city.readings for _ in range(2)],
        rows=[],
        pool_of=[pool for pool in city.pool_of for _ in range(2)],
        group=[group for group in city.group for _ in range(2)],
        gap_ms=[gap for gap in city.gap_ms for _ in range(2)],
    )
    assert judge_fast(copied).lapses == judge_fast(city).lapses
