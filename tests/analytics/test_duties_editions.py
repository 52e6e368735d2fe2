"""Duties with dates: each time by the edition in force, by hand."""

from dataclasses import replace

import pytest

from analytics.results import DutyStanding, EndedBy
from analytics.spans import merged
from analytics.standards.profile import Duty, Profile, load_profile
from gateway.contract.registry import PoolKind
from tests.analytics.duty_case import DAY, FC, HOUR, DutyCase, at
from tests.analytics.duty_seconds import duty_seconds

CHANGE = at("2026-07-01 12:00")


def day(clock: str) -> int:
    return at(f"2026-07-01 {clock}")


def editions(duty: str, *rows: dict[str, object]) -> Profile:
    """The shipped profile with editions of one duty of an indoor pool only."""
    shipped = load_profile("changzhou-2022")
    found: Duty = next(row for row in shipped.duties if row.duty == duty and PoolKind.INDOOR in row.kinds)
    return replace(shipped, duties=tuple(replace(found, **row) for row in rows))  # type: ignore[arg-type] # fields


def test_a_stricter_edition_follows_at_noon() -> None:
    # Until noon every 4 h, from noon every 2 h, no grace; tested at 05:30 and 10:30.
    profile = editions(
        "daily_test",
        {"interval_s": 14_400.0, "grace_s": 0.0, "edition": "old", "from_ms": None, "to_ms": CHANGE},
        {"interval_s": 7_200.0, "grace_s": 0.0, "edition": "new", "from_ms": CHANGE, "to_ms": None},
    )
    pool = DutyCase(profile=profile, from_ms=day("04:00")).test(day("05:30"), FC).test(day("10:00"), FC)
    found = pool.outcome("daily_test", day("13:00"))
    # 05:30 + 4 h = 09:30 to 10:00 by the old one; 10:00 + 2 h = noon by the new one: overdue from its first instant.
    assert [(f.edition, f.start_ms, f.end_ms) for f in found.findings] == [
        ("old", day("09:30"), day("10:00")),
        ("new", CHANGE, None),
    ]
    assert (found.standing.standing, found.edges_ms != []) == (DutyStanding.OVERDUE, True)
    seconds = duty_seconds(
        found,
        days=merged([(day("00:00"), day("00:00") + DAY)]),
        open_time=pool.window(day("13:00")).open_time,
        until_ms=day("13:00"),
    )
    assert (seconds.due_s[0], seconds.overdue_s[0], seconds.kept_s[0]) == (7 * 3600, 5400, 7 * 3600 - 5400)


def test_a_lapse_over_the_change_is_one_of_each_edition() -> None:
    profile = editions(
        "daily_test",
        {"edition": "old", "from_ms": None, "to_ms": CHANGE},
        {"edition": "new", "from_ms": CHANGE, "to_ms": None},
    )
    pool = DutyCase(profile=profile, from_ms=day("04:00")).test(day("05:30"), FC)
    old, new = pool.verdicts("daily_test", day("13:00"))
    assert (old.edition, old.start_ms, old.end_ms) == ("old", day("08:00"), CHANGE)
    assert (new.edition, new.start_ms, new.end_ms) == ("new", CHANGE, None)
    assert old.evidence is not None
    assert old.evidence.ended is EndedBy.NOT_BOUND


@pytest.mark.parametrize("duty", ["daily_test", "full_test"])
def test_a_duty_that_nothing_preceded_begins_with_its_first_edition(duty: str) -> None:
    interval_s = 7200.0
    profile = editions(duty, {"interval_s": interval_s, "grace_s": 0.0, "from_ms": CHANGE, "to_ms": None})
    pool = DutyCase(profile=profile, from_ms=day("04:00"))
    quantity = FC if duty == "daily_test" else ""
    with pytest.raises(ValueError, match="not enough values"):
        pool.outcome(duty, CHANGE - 1, quantity)  # not yet among the pool's duties
    assert pool.lapses(duty, CHANGE + 3 * HOUR, quantity) == [(CHANGE + 2 * HOUR, None)]


def test_a_duty_that_was_repealed_is_not_due() -> None:
    profile = editions("daily_test", {"from_ms": None, "to_ms": CHANGE})
    pool = DutyCase(profile=profile, from_ms=day("04:00")).test(day("05:30"), FC)
    assert pool.lapses("daily_test", day("13:00")) == [(day("08:00"), CHANGE)]
    assert pool.standing("daily_test", day("13:00")) is DutyStanding.NOT_DUE


def test_a_full_test_goes_on_over_a_change_of_edition() -> None:
    begin_ms = at("2024-03-01 12:00")
    change = begin_ms + 500 * DAY
    profile = editions(
        "full_test", {"edition": "old", "to_ms": change}, {"edition": "new", "from_ms": change}
    )
    pool = DutyCase(profile=profile, from_ms=begin_ms)
    old, new = pool.verdicts("full_test", change + DAY, "")
    assert (old.start_ms, old.end_ms, new.start_ms) == (begin_ms + 365 * DAY, change, change)
