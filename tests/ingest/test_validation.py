import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract.registry import Registry
from gateway.contract.times import format_timestamp
from ingest.validation import Assessment, assess, build_rows

TOPIC = "pools/north/gateways/gw-a/readings"
Build = Callable[..., Any]


@pytest.fixture
def judge(registry: Registry, now_ms: int) -> Callable[..., Assessment]:
    def run(payload: bytes, *, topic: str = TOPIC) -> Assessment:
        return assess(topic=topic, payload=payload, registry=registry, received_at_ms=now_ms)

    return run


def _codes(assessment: Assessment) -> list[tuple[int | None, str]]:
    return [(refusal.position, refusal.code) for refusal in assessment.refusals]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({}, None),
        ({"value": None, "status": "fault"}, None),
        ({"sensor_id": "fc-2"}, "unknown_sensor"),
        ({"sensor_id": "fc-9"}, "unknown_sensor"),  # a sensor of the other pool
        ({"quantity": "ph"}, "foreign_quantity"),
        ({"quantity": "colour"}, "unknown_quantity"),
        ({"sensor_id": "manual", "status": "manual", "quantity": "urea_mg_l"}, None),
        ({"sensor_id": "manual", "status": "laboratory"}, None),
        ({"sensor_id": "manual"}, "wrong_status"),
        ({"sensor_id": "manual", "status": "fault", "value": None}, "wrong_status"),
        ({"measured_at": "2026-07-01T08:10:00.000Z"}, None),  # ten minutes ahead
        ({"measured_at": "2026-07-01T08:10:00.001Z"}, "future_time"),
        ({"measured_at": "1999-01-01T00:00:00Z"}, None),  # late is not wrong
        ({"measured_at": "2026-07-01 08:00:00"}, "bad_time"),
        ({"value": "0.5"}, "wrong_shape"),
        ({"value": None}, "missing_value"),
        ({"colour": 1}, "unknown_field"),
    ],
)
def test_one_bad_reading_is_refused_alone(
    judge: Build, reading: Build, payload: Build, changed: dict[str, Any], code: str | None
) -> None:
    found = judge(payload([reading(), reading(**changed), reading()]))
    assert _codes(found) == ([] if code is None else [(1, code)])
    assert not found.is_refused
    assert found.items == 3


@pytest.mark.parametrize(
    ("measured_at", "code"),
    [
        ("2025-12-31T23:59:59.999Z", "sensor_not_in_force"),
        ("2026-01-01T00:00:00.000Z", None),
        ("2026-07-01T11:59:59.999Z", None),
        ("2026-07-01T12:00:00.000Z", "sensor_not_in_force"),
    ],
)
def test_a_sensor_counts_from_its_from_to_before_its_until(
    registry: Registry, reading: Build, payload: Build, now_ms: int, measured_at: str, code: str | None
) -> None:
    message = payload([reading(sensor_id="ph-1", quantity="ph", measured_at=measured_at)])
    late_ms = now_ms + 86_400_000
    found = assess(topic=TOPIC, payload=message, registry=registry, received_at_ms=late_ms)
    assert _codes(found) == ([] if code is None else [(0, code)])


@pytest.mark.parametrize(
    ("topic", "gateway_id", "code"),
    [
        ("pools/nowhere/gateways/gw-a/readings", "gw-a", "unknown_pool"),
        ("pools/south/gateways/gw-a/readings", "gw-a", "foreign_pool"),
        ("pools/north/gateways/gw-z/readings", "gw-z", "unknown_gateway"),
    ],
)
def test_a_message_for_a_foreign_pool_is_refused_whole_and_keeps_its_key(
    judge: Build, reading: Build, payload: Build, topic: str, gateway_id: str, code: str
) -> None:
    found = judge(payload([reading()], gateway_id=gateway_id, seq=7), topic=topic)
    assert _codes(found) == [(None, code)]
    assert (found.gateway_id, found.boot_id, found.seq, found.items) == (gateway_id, "b1", 7, 1)


def test_a_message_that_is_too_large_still_gets_its_receipt(judge: Build, reading: Build) -> None:
    padded = {
        "schema": 1,
        "gateway_id": "gw-a",
        "boot_id": "b1",
        "seq": 3,
        "readings": [reading(by="x" * 100_000)],
    }
    found = judge(json.dumps(padded).encode())
    assert _codes(found) == [(None, "too_large")]
    assert (found.boot_id, found.seq) == ("b1", 3)


def test_a_key_that_cannot_be_believed_is_not_used(judge: Build, reading: Build, payload: Build) -> None:
    foreign = judge(payload([reading()], gateway_id="gw-b"))
    assert (_codes(foreign), foreign.seq) == ([(None, "gateway_mismatch")], None)
    twice = judge(payload([reading()]).replace(b'"seq": 0', b'"seq": 0, "seq": 1'))
    assert (_codes(twice), twice.seq) == ([(None, "duplicate_key")], None)
    malformed = judge(b'{"schema": 1, "boot_id": "b1", "seq": 0')
    assert (_codes(malformed), malformed.seq) == ([(None, "malformed_json")], None)


def test_a_topic_outside_the_contract_is_refused(judge: Build) -> None:
    assert _codes(judge(b"{}", topic="pools/north/colour")) == [(None, "bad_topic")]


def test_logbook_entries_are_checked_one_by_one(judge: Build, payload: Build, now_ms: int) -> None:
    at = format_timestamp(now_ms)
    entries = [
        {"kind": "closure", "at": at, "by": "Li"},
        {"kind": "calibration", "at": at, "by": "Li", "sensor_id": "fc-1"},
        {"kind": "calibration", "at": at, "by": "Li", "sensor_id": "fc-9"},
        {"kind": "closure", "at": format_timestamp(now_ms + 600_001), "by": "Li"},
    ]
    found = judge(payload(entries, name="entries"), topic="pools/north/gateways/gw-a/logbook")
    assert _codes(found) == [(2, "unknown_sensor"), (3, "future_time")]


def test_a_status_of_an_unknown_gateway_is_refused(judge: Build) -> None:
    status = b'{"state": "online", "boot_id": "b1", "since": "2026-07-01T08:00:00Z"}'
    assert _codes(judge(status, topic="gateways/gw-a/status")) == []
    assert _codes(judge(status, topic="gateways/gw-z/status")) == [(None, "unknown_gateway")]
    assert _codes(judge(b"", topic="gateways/gw-a/status")) == [(None, "malformed_json")]


def test_rows_carry_what_came_and_where_it_came_from(reading: Build, payload: Build, now_ms: int) -> None:
    message = payload([reading(), reading(value=0.7), reading(value=None, status="stopped")], seq=4)
    rows = build_rows(topic=TOPIC, payload=message, received_at_ms=now_ms + 5, refused={1})
    assert [(row.position, row.value, row.status) for row in rows.readings] == [
        (0, 0.52, "normal"),
        (2, None, "stopped"),
    ]
    row = rows.readings[0]
    assert (row.pool_id, row.gateway_id, row.boot_id, row.seq) == ("north", "gw-a", "b1", 4)
    assert (row.measured_at_ms, row.received_at_ms) == (now_ms, now_ms + 5)
    assert (rows.logbook, rows.statuses) == ((), ())


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(field=st.sampled_from(["schema", "gateway_id", "boot_id", "seq", "readings", "extra"]), value=_JSON)
def test_no_envelope_makes_the_assessment_fail(
    judge: Build, reading: Build, field: str, value: object
) -> None:
    envelope: dict[str, Any] = {
        "schema": 1,
        "gateway_id": "gw-a",
        "boot_id": "b1",
        "seq": 0,
        "readings": [reading()],
    }
    found = judge(json.dumps(envelope | {field: value}).encode())
    for refusal in found.refusals:
        assert refusal.text.encode()  # a store takes it


@pytest.mark.parametrize("key", ["\ud800", "x" * 10_000])
def test_a_reason_is_text_of_bounded_length(judge: Build, reading: Build, payload: Build, key: str) -> None:
    found = judge(payload([reading(**{key: 1})]))
    assert found.refusals
    assert all(len(refusal.text.encode()) <= 2_000 for refusal in found.refusals)
