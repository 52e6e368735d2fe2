"""The machine of DESIGN 12.8: hand-made courses, and the vectorised form against a loop that is the machine itself."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.course import Course, Seed, course, outside, sample_spans, well_inside
from analytics.spans import EMPTY, FAR_MS, Spans, merged
from analytics.standards.profile import Confirmation, LimitEnd, Side, load_profile, rules_for
from gateway.contract.registry import PoolKind

CONFIRMATION = Confirmation(confirm_ms=10, clear_ms=6, hysteresis=0.02)
GAP_MS = 20
ALWAYS = merged([(-FAR_MS, FAR_MS)])
RULES = rules_for(load_profile("changzhou-2022"), PoolKind.INDOOR)


def end_of(rule: str) -> LimitEnd:
    quantity = {"free": "free_chlorine_mg_l", "ph": "ph"}[
        rule.split("_", maxsplit=1)[0].split(".", maxsplit=1)[0]
    ]
    return next(end for end in RULES.ends(quantity) if end.rule == rule)


def brute(
    at: list[int], letters: str, *, opening: Spans, now_ms: int, seed: Seed | None = None
) -> list[tuple[int, int]]:
    """The machine, reading by reading: O outside, I well inside, B between."""
    found: list[tuple[int, int]] = []
    since = None if seed is None else seed.active_since_ms
    run: list[int] = []
    clearing: list[int] = []
    before = None if seed is None else seed.last_good_ms

    def first_closed(instant: int) -> int:
        return next((int(e) for s, e in opening if s <= instant < e), instant)

    for t, letter in [*zip(at, letters, strict=True), (now_ms, "end")]:
        if before is not None and t - before > GAP_MS:
            run, clearing = [], []
            if first_closed(before) < t and since is not None:
                found.append((since, first_closed(before)))
                since = None
        if letter == "end":
            break
        run = [*run, t] if letter == "O" else []
        clearing = [*clearing, t] if letter == "I" else []
        if since is None and len(run) >= 2 and run[-1] - run[0] >= CONFIRMATION.confirm_ms:
            since = run[0]
        if since is not None and len(clearing) >= 2 and clearing[-1] - clearing[0] >= CONFIRMATION.clear_ms:
            found.append((since, clearing[0]))
            since = None
        before = t
    if since is not None:
        found.append((since, FAR_MS))
    return [(start, end) for start, end in found if end > start]


def run(
    at: list[int], letters: str, *, opening: Spans = ALWAYS, now_ms: int, seed: Seed | None = None
) -> Course:
    mask = np.array(list(letters), dtype="U1")
    return course(
        np.array(at, dtype=np.int64),
        outside=mask == "O",
        well_inside=mask == "I",
        confirmation=CONFIRMATION,
        gap_ms=GAP_MS,
        opening=opening,
        now_ms=now_ms,
        seed=seed,
    )


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("", []),
        ("O", []),
        ("OO", []),  # 5 ms are not 10
        ("OOO", [(0, FAR_MS)]),
        ("IOOOII", [(5, FAR_MS)]),  # inside for 5 ms only
        ("IOOOIIB", [(5, FAR_MS)]),
        ("IOOOIIIOB", [(5, 20)]),  # 20, 25, 30: clears after 10 ms, at the first of them
        ("OOBOOIB", []),  # between breaks a run
        ("OOOBOIBII", [(0, FAR_MS)]),
        ("OOOIIIOOO", [(0, 15), (30, FAR_MS)]),
    ],
)
def test_courses_by_hand(letters: str, expected: list[tuple[int, int]]) -> None:
    at = [5 * index for index in range(len(letters))]
    found = run(at, letters, now_ms=(at[-1] if at else 0) + 1)
    assert [tuple(span) for span in found.spans.tolist()] == expected


def test_a_long_gap_forgets_a_run_but_not_an_exceedance_which_reads_unverified() -> None:
    assert run([0, 5, 30, 35], "OOOO", now_ms=36).spans.tolist() == []
    silent = run([0, 5, 10], "OOO", now_ms=31)
    assert silent.active_since_ms == 0
    assert silent.unverified_since_ms == 10
    again = run([0, 5, 10, 50], "OOOB", now_ms=51)
    assert (again.active_since_ms, again.unverified_since_ms) == (0, None)


def test_a_gap_with_closed_time_in_it_resets_at_the_first_closed_instant() -> None:
    opening = merged([(0, 20), (40, FAR_MS)])
    found = run([0, 5, 10, 41], "OOOB", opening=opening, now_ms=42)
    assert found.spans.tolist() == [[0, 20]]
    # The same distance without closed time does not.
    assert run([0, 5, 10, 41], "OOOB", now_ms=42).active_since_ms == 0
    # Closed time through which readings went on does not either.
    going_on = run([0, 5, 10, 25, 41], "OOOBB", opening=opening, now_ms=42)
    assert going_on.active_since_ms == 0


ticks = st.lists(st.integers(1, 30), max_size=40)


@settings(max_examples=400, deadline=None)
@given(
    steps=ticks,
    noise=st.randoms(use_true_random=False),
    holes=st.lists(st.integers(0, 400), max_size=6),
    later=st.integers(0, 60),
    seeded=st.sampled_from([None, Seed(-5, None), Seed(-5, -30), Seed(-40, -60)]),
)
def test_the_vectorised_machine_is_the_machine(
    steps: list[int],
    noise: random.Random,
    holes: list[int],
    later: int,
    seeded: Seed | None,
) -> None:
    at = np.cumsum(steps).tolist()
    letters = ""
    for _ in at:
        letters += letters[-1] if letters and noise.random() < 0.7 else noise.choice("OIB")
    edges = sorted(set(holes))
    opening = (
        merged([(-FAR_MS, FAR_MS)])
        if len(edges) < 2
        else merged([(-FAR_MS, edges[0]), *zip(edges[1::2], edges[2::2], strict=False)])
    )
    now_ms = (at[-1] if at else 0) + later
    expected = merged(brute(at, letters, opening=opening, now_ms=now_ms, seed=seeded))
    found = run(at, letters, opening=opening, now_ms=now_ms, seed=seeded)
    assert found.spans.tolist() == expected.tolist()
    # What is known at an instant from all readings is what is known from the readings before it.
    for instant in at[:: max(1, len(at) // 4)]:
        earlier = [t for t in at if t < instant]
        gap_known = not earlier or instant - earlier[-1] <= GAP_MS
        if gap_known:
            then = brute(
                earlier,
                letters[: len(earlier)],
                opening=opening,
                now_ms=(earlier or [instant])[-1],
                seed=seeded,
            )
            since = then[-1][0] if then and then[-1][1] == FAR_MS else None
            assert found.active_since_at(instant) == since


@pytest.mark.parametrize(
    ("rule", "value", "is_outside", "is_well_inside"),
    [
        ("free_chlorine.low", 0.3, False, False),
        ("free_chlorine.low", 0.2999, True, False),  # the full value is compared, though it shows as 0.30
        ("free_chlorine.low", 0.32, False, True),
        ("free_chlorine.high", 1.0, False, False),
        ("free_chlorine.high", 1.0001, True, False),
        ("free_chlorine.high", 0.98, False, True),
        ("free_chlorine_closure.high", 3.0, False, False),
        ("free_chlorine_closure.high", 3.01, True, False),
        ("ph.low", 7.0, False, False),
        ("ph.low", 6.99, True, False),
        ("ph.high", 7.8, False, False),
        ("ph.high", 7.81, True, False),
        ("ph_closure.low", 6.49, True, False),
        ("ph_closure.high", 8.01, True, False),
        ("ph.high", float("nan"), False, False),
    ],
)
def test_ends_of_limits(rule: str, value: float, is_outside: bool, is_well_inside: bool) -> None:  # noqa: FBT001 - a table's column
    end = end_of(rule)
    hysteresis = load_profile("changzhou-2022").confirmation(end.limit.quantity).hysteresis
    assert outside(np.array([value]), end).tolist() == [is_outside]
    assert well_inside(np.array([value]), end, hysteresis=hysteresis).tolist() == [is_well_inside]


def brute_samples(at: list[int], outs: list[bool], *, age_ms: int, opening: Spans) -> list[tuple[int, int]]:
    found = []
    for index, (t, out) in enumerate(zip(at, outs, strict=True)):
        if not out:
            continue
        end = at[index + 1] if index + 1 < len(at) else FAR_MS
        session = next(((int(s), int(e)) for s, e in opening if e > t), None)
        reach = session[1] if session is not None and session[0] < t + age_ms else t
        found.append((t, min(end, reach)))
    return found


def test_samples_by_hand() -> None:
    opening = merged([(100, 200), (300, 400)])
    at = np.array([110, 150, 160], dtype=np.int64)

    def spans(*outs: bool) -> list[list[int]]:
        found: list[list[int]] = sample_spans(at, outside=np.array(outs), age_ms=60, opening=opening).tolist()
        return found

    assert spans(True, False, False) == [[110, 150]]
    assert spans(True, True, False) == [[110, 160]]
    assert spans(False, False, True) == [[160, 200]]
    # Taken 50 before opening, younger than 60: it counts for the session; 80 before: it does not.
    for t, expected in ((250, [[250, 400]]), (220, [])):
        one = np.array([t], dtype=np.int64)
        assert sample_spans(one, outside=np.array([True]), age_ms=60, opening=opening).tolist() == expected
    assert sample_spans(at, outside=np.array([True] * 3), age_ms=60, opening=EMPTY).tolist() == []


@settings(max_examples=200, deadline=None)
@given(
    steps=ticks,
    outs=st.lists(st.booleans(), min_size=40, max_size=40),
    edges=st.lists(st.integers(0, 500), max_size=8, unique=True),
    age_ms=st.integers(0, 80),
)
def test_samples_against_the_loop(steps: list[int], outs: list[bool], edges: list[int], age_ms: int) -> None:
    at = np.cumsum(steps).tolist()
    edges = sorted(edges)
    opening = merged(list(zip(edges[::2], edges[1::2], strict=False)))
    found = sample_spans(
        np.array(at, dtype=np.int64),
        outside=np.array(outs[: len(at)], dtype=bool),
        age_ms=age_ms,
        opening=opening,
    )
    expected = merged(brute_samples(at, outs[: len(at)], age_ms=age_ms, opening=opening))
    assert found.tolist() == expected.tolist()


def test_side_names_the_end() -> None:
    assert end_of("ph.low").side is Side.LOW
