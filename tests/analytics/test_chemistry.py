"""Chlorine chemistry: published values, limits of the formula, and doubt about a verdict."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.chemistry import (
    UNKNOWN_PH,
    UNKNOWN_TEMP_C,
    chlorine_doubtful,
    equivalent_free_chlorine_mg_l,
    hocl_fraction,
    hocl_mg_l,
    hocl_pka,
    newest_young,
    uncompensated_reading_mg_l,
)

PH_LIMIT = (7.0, 7.8)
CHLORINE_LIMIT = (0.3, 1.0)
PH = st.floats(4.0, 10.0)
TEMP_C = st.floats(5.0, 35.0)


def doubtful(
    reading_mg_l: object, *, ph: object, water_temp_c: object = 27.0, ph_cal: object = 7.2
) -> list[bool]:
    found = chlorine_doubtful(
        reading_mg_l=np.atleast_1d(np.asarray(reading_mg_l, dtype=float)),
        ph=np.asarray(ph, dtype=float),
        water_temp_c=np.asarray(water_temp_c, dtype=float),
        ph_cal=np.asarray(ph_cal, dtype=float),
        ph_limit=PH_LIMIT,
        chlorine_limit_mg_l=CHLORINE_LIMIT,
    )
    return [bool(one) for one in found]


def test_pka_is_what_morris_published_at_25_degrees() -> None:
    assert float(hocl_pka(water_temp_c=25.0)) == pytest.approx(7.537, abs=0.0005)


# The table of the domain notes, computed apart from this code, to three digits.
@pytest.mark.parametrize(
    ("water_temp_c", "pka", "fractions"),
    [
        (20.0, 7.582, [0.792, 0.707, 0.603, 0.490, 0.377, 0.276, 0.132]),
        (27.0, 7.520, [0.768, 0.676, 0.569, 0.454, 0.344, 0.249, 0.117]),
        (30.0, 7.497, [0.759, 0.665, 0.556, 0.441, 0.332, 0.239, 0.111]),
    ],
)
def test_fractions_of_the_table(water_temp_c: float, pka: float, fractions: list[float]) -> None:
    assert float(hocl_pka(water_temp_c=water_temp_c)) == pytest.approx(pka, abs=0.0006)
    ph = [7.0, 7.2, 7.4, 7.6, 7.8, 8.0, 8.4]
    assert hocl_fraction(ph=ph, water_temp_c=water_temp_c) == pytest.approx(fractions, abs=0.0015)


@given(TEMP_C)
def test_half_is_hocl_where_the_ph_is_the_pka(water_temp_c: float) -> None:
    ph = hocl_pka(water_temp_c=water_temp_c)
    assert float(hocl_fraction(ph=ph, water_temp_c=water_temp_c)) == pytest.approx(0.5, rel=1e-12)


def test_inside_the_legal_ph_the_share_changes_about_twofold() -> None:
    shares = hocl_fraction(ph=[7.0, 7.8], water_temp_c=27.0)
    assert shares[0] / shares[1] == pytest.approx(2.2, abs=0.05)


@given(PH, PH, TEMP_C)
def test_more_acid_more_hocl(ph: float, other: float, water_temp_c: float) -> None:
    low, high = sorted((ph, other))
    shares = hocl_fraction(ph=[low, high], water_temp_c=water_temp_c)
    assert 0 <= shares[1] <= shares[0] <= 1


def test_missing_and_extreme_values() -> None:
    assert np.isnan(hocl_fraction(ph=[np.nan, 7.0], water_temp_c=[25.0, np.nan])).all()
    assert np.isnan(hocl_pka(water_temp_c=[-273.15, -400.0, np.nan])).all()
    assert hocl_fraction(ph=[-1e6, 1e6], water_temp_c=25.0).tolist() == [1.0, 0.0]
    assert hocl_fraction(ph=np.empty((0, 3)), water_temp_c=25.0).shape == (0, 3)
    assert np.isnan(hocl_mg_l(free_chlorine_mg_l=np.nan, ph=7.0, water_temp_c=25.0))


def test_strength_is_chlorine_times_share_over_series_and_time() -> None:
    # Table: 0.569 at pH 7.4 and 27 °C, 0.344 at 7.8.
    strength = hocl_mg_l(free_chlorine_mg_l=[[1.0, 0.5]], ph=[[7.4, 7.4], [7.8, 7.8]], water_temp_c=27.0)
    assert strength == pytest.approx(np.array([[0.569, 0.2845], [0.344, 0.172]]), abs=0.001)


@given(st.floats(0.0, 5.0), PH, PH, TEMP_C)
def test_correction_undoes_what_the_probe_does(
    chlorine: float, ph: float, ph_cal: float, water_temp_c: float
) -> None:
    reading = uncompensated_reading_mg_l(
        free_chlorine_mg_l=chlorine, ph=ph, water_temp_c=water_temp_c, ph_cal=ph_cal
    )
    back = equivalent_free_chlorine_mg_l(
        reading_mg_l=reading, ph=ph, water_temp_c=water_temp_c, ph_cal=ph_cal
    )
    assert float(back) == pytest.approx(chlorine, rel=1e-9, abs=1e-12)


def test_at_the_ph_of_its_calibration_a_probe_is_right() -> None:
    reading = uncompensated_reading_mg_l(free_chlorine_mg_l=0.7, ph=7.3, water_temp_c=28.0, ph_cal=7.3)
    assert float(reading) == pytest.approx(0.7, rel=1e-12)


def test_high_ph_hides_chlorine_from_the_probe() -> None:
    # 27 °C, table: 0.676 at pH 7.2, 0.249 at 8.0. 1.5 mg/L reads 1.5 · 0.249 / 0.676 = 0.553: within the limit, wrongly.
    reading = uncompensated_reading_mg_l(free_chlorine_mg_l=1.5, ph=8.0, water_temp_c=27.0, ph_cal=7.2)
    assert float(reading) == pytest.approx(0.553, abs=0.003)
    assert doubtful(0.553, ph=8.0) == [True]


def test_only_a_change_of_side_is_doubtful() -> None:
    # At pH 8.0 the correction is 0.676 / 0.249 = 2.71-fold: 0.2 → 0.54 (from low to within), 0.32 → 0.87 (within stays),
    # 0.6 → 1.6 (from within to high), 1.2 → 3.3 (high stays), 0.1 → 0.27 (low stays).
    assert doubtful([0.2, 0.32, 0.6, 1.2, 0.1], ph=8.0) == [True, False, True, False, False]


def test_a_ph_within_its_limit_raises_no_doubt() -> None:
    # At 7.8 the correction is 1.97-fold, yet the pH is in line; its ends belong to the limit.
    assert doubtful([0.6, 0.6, 0.6], ph=[7.0, 7.8, 7.80001]) == [False, False, True]


def test_a_missing_ph_is_doubted_over_all_that_it_may_be() -> None:
    # Between pH 6.5 and 8.0 the correction is 0.68 / 0.91 = 0.74 to about 2.8-fold: far outside it changes no side.
    assert doubtful([0.35, 0.32, 0.5, 1.2, 2.0, 0.05], ph=np.nan) == [True, True, True, True, False, False]


def test_missing_values_are_never_doubted_and_need_a_calibration() -> None:
    assert doubtful([np.nan, np.nan], ph=[8.2, np.nan]) == [False, False]
    assert doubtful([], ph=8.0) == []
    with pytest.raises(ValueError, match="ph_cal"):
        doubtful(0.5, ph=8.0, ph_cal=np.nan)


def test_zero_is_a_limit_and_an_open_end_none() -> None:
    def high_ph(limit: tuple[float | None, float | None]) -> bool:
        return bool(
            chlorine_doubtful(
                reading_mg_l=0.9,
                ph=8.4,
                water_temp_c=27.0,
                ph_cal=7.2,
                ph_limit=PH_LIMIT,
                chlorine_limit_mg_l=limit,
            )
        )

    assert not high_ph((0.0, None))
    assert high_ph((None, 1.0))


MAYBE_PH = st.one_of(st.just(np.nan), st.floats(6.0, 9.0))
MAYBE_TEMP = st.one_of(st.just(np.nan), st.floats(15.0, 35.0))


@settings(max_examples=200)
@given(st.lists(st.tuples(st.floats(0.0, 3.0), MAYBE_PH, MAYBE_TEMP, st.floats(6.8, 7.8)), max_size=8))
def test_doubt_equals_a_loop_over_a_fine_net_of_what_is_unknown(
    rows: list[tuple[float, float, float, float]],
) -> None:
    def side(value: float) -> int:
        return -1 if value < CHLORINE_LIMIT[0] else int(value > CHLORINE_LIMIT[1])

    def share(ph: float, temp_c: float) -> float:
        kelvin = temp_c + 273.15
        return float(1 / (1 + 10 ** (ph - (3000 / kelvin - 10.0686 + 0.0253 * kelvin))))

    expected = []
    for reading, ph, temp_c, ph_cal in rows:
        if PH_LIMIT[0] <= ph <= PH_LIMIT[1]:
            expected.append(False)
            continue
        every_ph = np.linspace(*UNKNOWN_PH, 16) if np.isnan(ph) else [ph]
        every_temp = np.linspace(*UNKNOWN_TEMP_C, 7) if np.isnan(temp_c) else [temp_c]
        expected.append(
            any(
                side(reading * share(ph_cal, of_temp) / share(of_ph, of_temp)) != side(reading)
                for of_ph in every_ph
                for of_temp in every_temp
            )
        )
    columns = np.array(rows, dtype=float).reshape(-1, 4).T
    assert doubtful(columns[0], ph=columns[1], water_temp_c=columns[2], ph_cal=columns[3]) == expected


@given(
    st.lists(st.integers(-5, 30), max_size=6),
    st.lists(st.tuples(st.integers(0, 25), st.just(np.nan) | st.floats(6.0, 9.0)), max_size=8),
    st.integers(1, 10),
)
def test_a_ph_belongs_to_a_reading_while_it_is_young(
    asked: list[int], readings: list[tuple[int, float]], age: int
) -> None:
    readings = sorted(readings, key=lambda reading: reading[0])
    expected = []
    for at in asked:
        before = [reading for reading in readings if reading[0] <= at and not np.isnan(reading[1])]
        expected.append(before[-1][1] if before and at < before[-1][0] + age else np.nan)
    found = newest_young(
        np.array(asked, dtype=np.int64),
        measured_at_ms=np.array([reading[0] for reading in readings], dtype=np.int64),
        value=np.array([reading[1] for reading in readings], dtype=np.float64),
        age_ms=age,
    )
    assert np.array_equal(found, expected, equal_nan=True)
