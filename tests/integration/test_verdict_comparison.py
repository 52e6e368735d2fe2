"""The comparison that ends every fault test: it sees one altered, moved, missing or late reading among thousands."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from gateway.contract.registry_file import parse_registry
from ingest.store.records import ReadingColumns, SeriesKey, StatusCode
from tests.integration.fault_verdicts import Lapse, Sent, assert_same_verdicts, undisturbed

T0 = 1_800_000_000_000
FC = SeriesKey("fc-1", "free_chlorine_mg_l")
REGISTRY = parse_registry(
    """schema = 1
[venues.hall]
name_zh = "馆"
name_en = "Hall"
district = "Tianning"
position = [31.78, 119.95]
[pools.p]
venue = "hall"
name_zh = "池"
name_en = "Pool"
kind = "indoor"
opening_hours = "Mo-Su 06:00-22:00"
[[pools.p.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 60
"""
)


def readings() -> list[Sent]:
    """Every 20 ms, from 0.001 upwards; after 1,200 of them 900 ms of silence, and from 0.001 again."""
    return [
        Sent("p", *FC, T0 + boot * (1200 * 20 + 900) + 20 * number, (number + 1) / 1000)
        for boot in range(3)
        for number in range(1200)
    ]


def stored(*, late_ms: int = 30) -> ReadingColumns:
    columns = undisturbed(readings())["p"][FC]
    return replace(columns, stored_at_ms=columns.measured_at_ms + late_ms)


def test_what_was_only_late_has_the_same_verdicts_and_lapses_of_its_own() -> None:
    found = assert_same_verdicts(REGISTRY, {"p": {FC: stored()}}, readings())["p"]
    # Below 0.3 for the first 6 s of each boot, above 1.0 for its last 4 s: three of each, of the operating tier at least.
    rules = [one.split(b'"rule":"')[1].split(b'"')[0] for one in found.exceedances]
    assert rules.count(b"free_chlorine.low") == 3
    assert rules.count(b"free_chlorine.high") == 3
    # At both restarts the values on either side of the leap are suspect: overdue 300 ms after the last reading but one,
    # until the second reading of the new boot is stored, 30 ms after it was measured.
    begins = [T0 + boot * 24_900 for boot in (1, 2)]
    assert found.lapses == [Lapse(begin - 920 - 20 + 300, begin + 20 + 30, 30) for begin in begins]
    assert len(found.measured) == 3

    # A store that was away from the 500th to the 600th reading.
    columns = stored()
    late = columns.stored_at_ms.copy()
    late[500:600] = late[600]
    found = assert_same_verdicts(REGISTRY, {"p": {FC: replace(columns, stored_at_ms=late)}}, readings())["p"]
    begin, end = int(columns.measured_at_ms[499]) + 300, int(late[600])
    assert Lapse(begin, end, end - begin) in found.lapses
    assert len(found.lapses) == 3


def _with(columns: ReadingColumns, *, at: int, **changed: float) -> ReadingColumns:
    arrays = {}
    for name, value in changed.items():
        arrays[name] = getattr(columns, name).copy()
        arrays[name][at] = value
    return replace(columns, **arrays)


def _without(columns: ReadingColumns, at: int) -> ReadingColumns:
    return ReadingColumns(
        **{name: np.delete(getattr(columns, name), at) for name in ReadingColumns.__dataclass_fields__}
    )


@pytest.mark.parametrize(
    "alter",
    [
        lambda columns: _with(columns, at=700, value=0.25),
        # The worst of the first exceedance, by a thousandth; and the one that ends it.
        lambda columns: _with(columns, at=0, value=0.0),
        lambda columns: _with(columns, at=319, value=0.3195),
        lambda columns: _with(columns, at=700, status=StatusCode.FAULT),
        lambda columns: _with(columns, at=700, measured_at_ms=int(columns.measured_at_ms[700]) + 1),
        lambda columns: _without(columns, 700),
        lambda columns: _without(columns, len(columns.value) - 1),
    ],
    ids=[
        "value",
        "worst value",
        "value at a limit",
        "status",
        "instant",
        "one is missing",
        "the last is missing",
    ],
)
def test_one_altered_reading_is_seen(alter: Callable[[ReadingColumns], ReadingColumns]) -> None:
    with pytest.raises(AssertionError):
        assert_same_verdicts(REGISTRY, {"p": {FC: alter(stored())}}, readings())


def test_readings_of_another_pool_are_seen() -> None:
    with pytest.raises(AssertionError):
        assert_same_verdicts(REGISTRY, {"p": {FC: stored()}}, [])
