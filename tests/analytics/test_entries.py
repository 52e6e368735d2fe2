"""What is read from logbook rows."""

import numpy as np
import pytest

from analytics.duties.facts import FactPart, corrected_at_ms, corrected_part, ending
from analytics.duties.posting import Displays, ReceiptColumns, screen_parts
from analytics.entries import Acknowledgement, Correction, Posting, Report, read_entries
from analytics.spans import FAR_MS
from analytics.standards.profile import load_profile, rules_for
from gateway.contract.registry import PoolKind
from gateway.contract.times import format_timestamp
from ingest.store.records import PublicationRow, PublishedValue, SeriesKey
from tests.analytics.duty_case import FC, PH, DutyCase, at

T0 = at("2026-07-01 08:00")
MINUTE = 60_000


def test_every_kind_is_kept_in_the_order_of_its_time() -> None:
    pool = DutyCase()
    pool.enter("acknowledgement", T0 + 9, by="Wang", refers_to="v-1", text="seen")
    pool.enter("laboratory_report", T0 + 5, by="CDC", passed=True).enter(
        "laboratory_report", T0 + 1, by="CDC", passed=False
    )
    pool.post(T0 + 3, T0, FC, by="Li").post(T0 + 2, T0, PH, by="Wu")
    pool.enter("closure", T0).enter("closure", T0 + 1).enter("reopening", T0 + 4).enter("reopening", T0 + 6)
    entries = read_entries(pool.entries)
    assert entries.acknowledgements == (Acknowledgement(T0 + 9, "Wang", "seen", "v-1"),)
    assert entries.reports == (Report(T0 + 1, "CDC", passed=False), Report(T0 + 5, "CDC", passed=True))
    assert entries.postings == (
        Posting(T0 + 2, T0, frozenset({PH}), "Wu"),
        Posting(T0 + 3, T0, frozenset({FC}), "Li"),
    )
    assert entries.closed.tolist() == [[T0, T0 + 4]]
    assert read_entries([]).closed.tolist() == []


@pytest.mark.parametrize(
    ("refers_to", "key", "measured_at_ms"),
    [
        (f"fc-1/{FC}/2026-07-01T00:00:00.000Z", SeriesKey("fc-1", FC), T0),
        (f"manual/{PH}/2026-07-01T00:00:00Z", SeriesKey("manual", PH), T0),
        (f"fc-1/{FC}/yesterday", None, None),
        (f"fc-1/{FC}", None, None),
        ("5f3c", None, None),
        ("", None, None),
    ],
)
def test_what_a_correction_refers_to(
    refers_to: str, key: SeriesKey | None, measured_at_ms: int | None
) -> None:
    pool = DutyCase().enter("correction", T0 + 7, refers_to=refers_to, text="typed wrong")
    assert read_entries(pool.entries).corrections == (
        Correction(T0 + 7, "Li", "typed wrong", refers_to, key, measured_at_ms),
    )


def test_corrections_of_readings_by_sensor_quantity_and_time() -> None:
    found = [
        Correction(50, "", "", "", SeriesKey("fc-1", FC), 10),
        Correction(40, "", "", "", SeriesKey("fc-1", FC), 10),
        Correction(30, "", "", "", SeriesKey("fc-2", FC), 20),
        Correction(5, "", "", "hash"),
    ]
    at_ms = np.array([10, 20, 30])
    one = corrected_at_ms(found, quantity=FC, sensor_id="fc-1", measured_at_ms=at_ms)
    any_sensor = corrected_at_ms(found, quantity=FC, sensor_id=None, measured_at_ms=at_ms)
    assert one is not None
    assert any_sensor is not None
    assert one.tolist() == [40, FAR_MS, FAR_MS]
    assert any_sensor.tolist() == [40, 30, FAR_MS]
    assert corrected_at_ms(found, quantity=PH, sensor_id=None, measured_at_ms=at_ms) is None
    part = FactPart("manual", "fc-1", at_ms, at_ms)
    assert corrected_part(part, found, SeriesKey("fc-3", FC)) is part
    twice = ending(corrected_part(part, found, SeriesKey("fc-1", FC)), np.array([45, 15, 60])).at_most_ms
    assert twice is not None
    assert twice.tolist() == [40, 15, 60]


def test_of_several_values_of_a_snapshot_the_one_in_force_longest_counts() -> None:
    rules = rules_for(load_profile("changzhou-2022"), PoolKind.INDOOR)
    # Online: 15 min from 08:00. By hand, measured at 06:00: 2 h 30 min. The fault and the dropout are no results.
    values = (
        PublishedValue(FC, "fc-1", T0, 0.6, "normal"),
        PublishedValue(FC, "manual", T0 - 120 * MINUTE, 0.5, "manual"),
        PublishedValue(FC, "fc-2", T0 + MINUTE, 0.5, "fault"),
        PublishedValue(FC, "fc-3", T0 + MINUTE, 0.0, "normal"),
        PublishedValue(PH, "ph-1", T0, 7.4, "normal"),
    )
    row = PublicationRow("pool", T0, "a", "web-1", "in_standard", values)
    shown = ReceiptColumns(np.array([T0, T0 + 29 * MINUTE]), np.array(["a", "a"]))

    def part(age_ms: int) -> FactPart:
        (found,), seen = screen_parts(
            Displays({"hall": shown}, {"a": [row]}),
            quantity=FC,
            rules=rules,
            bad_times={SeriesKey("fc-3", FC): frozenset({T0 + MINUTE})},
            corrections=(),
            age_ms=age_ms,
        )
        assert seen.tolist() == shown.displayed_at_ms.tolist()
        return found

    by_hand = part(150 * MINUTE)
    assert by_hand.measured_at_ms.tolist() == [T0 - 120 * MINUTE] * 2
    assert by_hand.at_most_ms is not None
    assert (by_hand.at_most_ms - T0).tolist() == [150_000, 30 * MINUTE]
    # Where a posted result may only be 2 h old, the probe's is in force longer.
    assert part(120 * MINUTE).measured_at_ms.tolist() == [T0, T0]
    assert format_timestamp(T0) == "2026-07-01T00:00:00.000Z"
