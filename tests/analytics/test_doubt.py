"""Chlorine readings made doubtful by the pool's pH; the shares of hypochlorous acid are worked out by hand.

At 27 degC pKa = 3000/300.15 - 10.0686 + 0.0253 * 300.15 = 7.520, so the share is 1/(1 + 10^(pH - 7.520)): 0.569 at 7.4, the
middle of the pH limit, 0.173 at 8.2 and 0.294 at 7.9. A probe that shows 0.25 at pH 8.2 stands in
0.25 * 0.569 / 0.173 = 0.82 mg/L.
"""

import numpy as np
import pytest

from analytics.doubt import NO_CHANNEL, Channel, doubtful_chlorine
from analytics.standards.profile import load_profile, rules_for
from gateway.contract.registry import PoolKind

RULES = rules_for(load_profile("changzhou-2022"), PoolKind.INDOOR)
MINUTE = 60_000
# 2026-07-01 00:00 in China.
T0 = 1_782_835_200_000


def channel(value: float, *, minutes: range = range(1), from_ms: int = T0) -> Channel:
    at_ms = from_ms + np.array(minutes, dtype=np.int64) * MINUTE
    return Channel(at_ms, np.full(len(at_ms), value))


@pytest.mark.parametrize(
    ("chlorine", "ph", "doubtful"),
    [
        (0.25, 8.2, True),  # 0.82 in the water: inside
        (0.05, 8.2, False),  # 0.16: below, as shown
        (0.25, 7.9, True),  # 0.48: inside
        (0.10, 7.9, False),  # 0.19: below, as shown
        (0.90, 8.2, True),  # 2.96: above
        (0.90, 7.8, False),  # the end belongs to the limit
        (1.20, 6.5, True),  # share 0.913, so 0.75: inside
        (1.20, 7.4, False),
    ],
)
def test_by_hand(chlorine: float, ph: float, doubtful: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    found = doubtful_chlorine(RULES, channel(chlorine), ph=channel(ph), water_temp=channel(27.0))
    assert found.tolist() == [doubtful]


def test_a_ph_counts_for_a_quarter_of_an_hour() -> None:
    chlorine = channel(0.25, minutes=range(30))
    found = doubtful_chlorine(RULES, chlorine, ph=channel(8.2), water_temp=NO_CHANNEL)
    assert np.flatnonzero(found).tolist() == list(range(15))


def test_without_a_ph_nothing_is_doubtful() -> None:
    assert not doubtful_chlorine(RULES, channel(0.25), ph=NO_CHANNEL, water_temp=NO_CHANNEL).any()


def test_before_the_limits_were_in_force_nothing_is_doubtful() -> None:
    then = T0 - 6 * 365 * 86_400_000
    chlorine, ph = channel(0.25, from_ms=then), channel(8.2, from_ms=then)
    assert not doubtful_chlorine(RULES, chlorine, ph=ph, water_temp=NO_CHANNEL).any()
