"""Many messages at once come to what each of them comes to by itself."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.contract.registry import Registry
from gateway.contract.registry_file import parse_registry
from gateway.contract.times import format_timestamp
from ingest import intake, validation
from ingest.incoming import Incoming
from ingest.intake import Rows, assess_many, rebuild_many
from ingest.series_tables import LearntSeries
from ingest.store.records import GatewayStatusRow, LogbookRow, ReadingRow
from ingest.validation import Assessment, assess, build_rows
from ingest.wire_columns import read_usual

TOPIC = "pools/north/gateways/gw-a/readings"
#: 2026-07-01T08:00:00Z
NOW_MS = 1_782_892_800_000
NOW = "2026-07-01T08:00:00.000Z"
_REGISTRY = """
schema = 1
[venues.hall]
name_zh = "馆"
name_en = "Hall"
district = "Tianning"
position = [31.78, 119.95]
[pools.north]
venue = "hall"
name_zh = "北池"
name_en = "North"
kind = "indoor"
opening_hours = "Mo-Su 06:00-22:00"
sensors = [
  { id = "fc-1", quantity = "free_chlorine_mg_l", place = "return", interval_s = 60 },
  {id="ph-1",quantity="ph",place="return",interval_s=60,from=2026-01-01T00:00:00Z,until=2026-07-01T12:00:00Z},
  { id = "many-1", quantity = "ph", place = "return", interval_s = 60 },
  { id = "many-1", quantity = "orp_mv", place = "return", interval_s = 60 },
  { id = "away-1", quantity = "ph", place = "return", interval_s = 60, until = 2026-03-01T00:00:00Z },
  { id = "away-1", quantity = "ph", place = "return", interval_s = 60, from = 2026-06-01T00:00:00Z },
]
[pools.south]
venue = "hall"
name_zh = "南池"
name_en = "South"
kind = "outdoor"
opening_hours = "Mo-Su 06:00-22:00"
sensors = [ { id = "fc-9", quantity = "free_chlorine_mg_l", place = "return", interval_s = 60 } ]
[gateways.gw-a]
pools = ["north"]
[gateways.gw-b]
pools = ["south", "north"]
"""
REGISTRY = parse_registry(_REGISTRY)

_Taken = tuple[list[tuple[int, ReadingRow]], list[tuple[int, LogbookRow]], list[tuple[int, GatewayStatusRow]]]


def message(payload: bytes | str, *, topic: str = TOPIC, received_at_ms: int = NOW_MS) -> Incoming:
    return Incoming(topic, payload.encode() if isinstance(payload, str) else payload, received_at_ms)


def one_by_one(messages: list[Incoming], registry: Registry = REGISTRY) -> tuple[list[Assessment], _Taken]:
    assessments = []
    taken: _Taken = ([], [], [])
    for index, one in enumerate(messages):
        found = assess(
            topic=one.topic, payload=one.payload, registry=registry, received_at_ms=one.received_at_ms
        )
        assessments.append(found)
        if found.is_refused:
            continue
        refused = {refusal.position for refusal in found.refusals if refusal.position is not None}
        rows = build_rows(
            topic=one.topic, payload=one.payload, received_at_ms=one.received_at_ms, refused=refused
        )
        taken[0].extend((index, row) for row in rows.readings)
        taken[1].extend((index, row) for row in rows.logbook)
        taken[2].extend((index, row) for row in rows.statuses)
    return assessments, taken


def taken_of(rows: Rows) -> _Taken:
    assert len(rows.message) == len(rows.readings)
    return (
        list(zip(rows.message.tolist(), rows.readings.rows(), strict=True)),
        list(zip(rows.logbook_message, rows.logbook, strict=True)),
        list(zip(rows.status_message, rows.statuses, strict=True)),
    )


def usual_indexes(messages: list[Incoming]) -> list[int]:
    """Which of the messages the quick way takes."""
    table = intake._table_of(REGISTRY)
    return read_usual(messages, range(len(messages)), table, max_ahead_ms=600_000).indexes


def check(messages: list[Incoming]) -> None:
    """Together, one by one, and from the journal again: the same."""
    assessments, rows = assess_many(messages, REGISTRY)
    expected, taken = one_by_one(messages)
    assert assessments == expected
    assert taken_of(rows) == taken
    # A zero's sign is not seen by ==.
    signs = [np.signbit(row.value) for _, row in taken[0] if row.value is not None]
    assert np.signbit(rows.readings.value[~np.isnan(rows.readings.value)]).tolist() == signs
    assert rows.failures == ()
    accepted = [(index, one) for index, one in enumerate(expected) if not one.is_refused]
    rebuilt = rebuild_many(
        [messages[index] for index, _ in accepted],
        [
            {refusal.position for refusal in one.refusals if refusal.position is not None}
            for _, one in accepted
        ],
        LearntSeries(),
    )
    again = taken_of(rebuilt)
    assert [[row for _, row in kind] for kind in again] == [[row for _, row in kind] for kind in taken]
    assert [accepted[index][0] for index, _ in again[0]] == [index for index, _ in taken[0]]


def good_reading(**changed: Any) -> dict[str, Any]:
    return {
        "sensor_id": "fc-1",
        "quantity": "free_chlorine_mg_l",
        "measured_at": NOW,
        "value": 0.52,
    } | changed


def good(*readings: dict[str, Any], **changed: Any) -> dict[str, Any]:
    envelope = {"schema": 1, "gateway_id": "gw-a", "boot_id": "b1", "seq": 0}
    return envelope | {"readings": list(readings) or [good_reading()]} | changed


PLAIN = json.dumps(good())
#: One reading as text, to be spelt in odd ways.
READING = '{"sensor_id":"fc-1","quantity":"free_chlorine_mg_l","measured_at":"%s","value":%s}'


def spelt(value: str = "0.5", *, at: str = NOW, more: str = "", envelope: str = "") -> str:
    reading = READING % (at, value)
    return f'{{"schema":1,"gateway_id":"gw-a","boot_id":"b1","seq":7{envelope},"readings":[{reading[:-1]}{more}}}]}}'


USUAL: list[str | bytes] = [
    PLAIN,
    spelt(),
    json.dumps(good(), indent=4),
    "\r\n\t " + PLAIN + "\n ",
    spelt(at="2026-07-01T08:00:00Z"),
    spelt("5"),
    spelt("-0"),
    spelt("-0.0"),
    spelt("1e-5"),
    spelt("5E+2"),
    spelt("9007199254740993"),
    spelt("123456789012345678901234567890"),
    spelt("0.1234567890123456789012345678901234567890"),
    spelt("2.2250738585072011e-308"),
    spelt("1e-400"),
    spelt(more=',"status":"normal"'),
    spelt("null", more=',"status":"fault"'),
    spelt("1.5", more=',"status":"over_range"'),
    json.dumps(dict(reversed(good().items()))),
    json.dumps(good(*[good_reading(value=float(n)) for n in range(500)])),
    json.dumps(
        good(good_reading(sensor_id="many-1", quantity="orp_mv", status="calibration"), good_reading())
    ),
    json.dumps(good(good_reading(sensor_id="away-1", quantity="ph"))),
    json.dumps(good(good_reading(sensor_id="away-1", quantity="ph", measured_at="2026-02-01T00:00:00Z"))),
    json.dumps(good(seq=2**53 - 1, boot_id="A_-z" * 16)),
    spelt(at="2026-07-01T08:10:00.000Z"),
    spelt(at="0001-01-01T00:00:00.000Z"),
]
UNUSUAL: list[str | bytes] = [
    "",
    "{}",
    "[]",
    "null",
    "0",
    PLAIN + " x",
    PLAIN[:-1],
    "\ufeff" + PLAIN,
    PLAIN.encode() + b"\xff",
    PLAIN.encode().replace(b"fc-1", b"fc-\xff"),
    PLAIN.encode("utf-16"),
    # a key twice, everywhere, of the same value and of another
    PLAIN.replace('"seq": 0', '"seq": 0, "seq": 0'),
    PLAIN.replace('"seq": 0', '"seq": 1, "seq": 0'),
    PLAIN.replace('"value": 0.52', '"value": 0.4, "value": 0.52'),
    PLAIN.replace('"value": 0.52', '"value": 0.52, "status": "fault", "status": "normal"'),
    spelt(envelope=',"readings":[]'),
    spelt(more=',"sensor_id":"fc-1"'),
    # escapes and other spellings of known words
    PLAIN.replace("fc-1", "fc\\u002d1"),
    PLAIN.replace("sensor_id", "sensor\\u005fid"),
    spelt(more=',"statu\\u0073":"normal"'),
    spelt(more=',"status":"norma\\u006c"'),
    spelt(at="2026-07-01T08:00:00.000\\u005a"),
    spelt(at="2026-07-01T08:00:00.000Z\n"),
    spelt(at="2026-07-01T08:00:00.000\u2228"),
    spelt(at="２026-07-01T08:00:00.000Z"),
    spelt(at="2026-07-01t08:00:00z"),
    spelt(at="2026-07-01T08:00:00+00:00"),
    spelt(at="2026-07-01T24:00:00.000Z"),
    spelt(at="2026-06-31T08:00:00.000Z"),
    spelt(at="2026-07-01T23:59:60.000Z"),
    spelt(at="2026-07-01T08:10:00.001Z"),
    spelt(at="0000-01-01T00:00:00.000Z"),
    # numbers
    spelt("1e999"),
    spelt("-1e999"),
    spelt("1" + "0" * 400),
    spelt("1" * 5000),
    spelt("NaN"),
    spelt("Infinity"),
    spelt("01"),
    spelt(".5"),
    spelt("1."),
    spelt("+1"),
    spelt("true"),
    spelt('"0.5"'),
    spelt("[0.5]"),
    spelt("null"),
    spelt("null", more=',"status":"normal"'),
    spelt("null", more=',"status":"manual"'),
    spelt(more=',"status":null'),
    spelt(more=',"status":"odd"'),
    spelt(more=',"status":""'),
    spelt(more=',"by":"Li"'),
    spelt(more=',"by":null'),
    spelt(more=',"by":"\\ud800"'),
    spelt(more=',"colour":1'),
    spelt(envelope=',"colour":"x"'),
    PLAIN.replace('"seq": 0', '"seq": -1'),
    PLAIN.replace('"seq": 0', '"seq": 1.0'),
    PLAIN.replace('"seq": 0', '"seq": 1e3'),
    PLAIN.replace('"seq": 0', '"seq": 9007199254740992'),
    PLAIN.replace('"seq": 0', '"seq": true'),
    PLAIN.replace('"schema": 1', '"schema": 2'),
    PLAIN.replace('"schema": 1', '"schema": 1.0'),
    PLAIN.replace('"b1"', '""'),
    PLAIN.replace('"b1"', '"b 1"'),
    PLAIN.replace('"b1"', '"b1\n"'),
    PLAIN.replace('"b1"', '"' + "b" * 65 + '"'),
    PLAIN.replace('"b1"', '"池"'),
    PLAIN.replace('"gw-a"', '"gw-b"'),
    PLAIN.replace('"gw-a"', '"GW-A"'),
    json.dumps(good(readings=[])),
    json.dumps(good(readings=None)),
    json.dumps(good(readings={"0": good_reading()})),
    json.dumps(good(readings=[None])),
    json.dumps(good(readings=[good_reading()] * 501)),
    json.dumps(good(good_reading(sensor_id="ph-1"))),
    json.dumps(good(good_reading(sensor_id="fc-9"))),
    json.dumps(good(good_reading(sensor_id="FC-1"))),
    json.dumps(good(good_reading(sensor_id="manual", status="manual", by="Li", method="DPD"))),
    json.dumps(good(good_reading(sensor_id="manual", status="laboratory"))),
    json.dumps(good(good_reading(sensor_id="manual"))),
    json.dumps(good(good_reading(quantity="colour"))),
    json.dumps(good(good_reading(sensor_id="ph-1", quantity="ph", measured_at="2025-12-31T23:59:59.999Z"))),
    json.dumps(good(good_reading(sensor_id="away-1", quantity="ph", measured_at="2026-04-01T00:00:00.000Z"))),
    json.dumps(good(good_reading(), good_reading(value="x"), good_reading(value=0.7))),
    json.dumps(good(good_reading(by="x" * 70_000))),
    spelt() + " " * 70_000,
    spelt(more=',"by":' + "[" * 3000 + "]" * 3000),
]


@pytest.mark.parametrize("payload", USUAL, ids=range(len(USUAL)))
def test_usual_messages_go_together(payload: str | bytes) -> None:
    messages = [message(payload)]
    assert usual_indexes(messages) == [0]
    check(messages)
    assert assess_many(messages, REGISTRY)[0][0].refusals == ()


@pytest.mark.parametrize("payload", UNUSUAL, ids=range(len(UNUSUAL)))
def test_unusual_ones_are_judged_precisely_and_their_neighbours_go_on(payload: str | bytes) -> None:
    messages = [message(PLAIN), message(payload), message(spelt())]
    assert usual_indexes(messages) == [0, 2]
    check(messages)


STATUS = b'{"state": "online", "boot_id": "b1", "since": "2026-07-01T08:00:00Z"}'
ENTRIES = json.dumps(
    {
        "schema": 1,
        "gateway_id": "gw-a",
        "boot_id": "b1",
        "seq": 3,
        "entries": [
            {"kind": "closure", "at": NOW, "by": "Li"},
            {"kind": "calibration", "at": NOW, "by": "Li", "sensor_id": "fc-7"},
        ],
    }
)
ELSEWHERE = [
    message(STATUS, topic="gateways/gw-a/status"),
    message(STATUS, topic="gateways/gw-z/status"),
    message(b"", topic="gateways/gw-a/status"),
    message(ENTRIES, topic="pools/north/gateways/gw-a/logbook"),
    message(PLAIN, topic="pools/south/gateways/gw-a/readings"),
    message(PLAIN, topic="pools/nowhere/gateways/gw-a/readings"),
    message(PLAIN.replace("gw-a", "gw-z"), topic="pools/north/gateways/gw-z/readings"),
    message(PLAIN.replace("gw-a", "gw-b"), topic="pools/north/gateways/gw-b/readings"),
    message(PLAIN, topic="pools/north/gateways/gw-a/readings/"),
    message(PLAIN, topic="\n"),
    message(PLAIN, received_at_ms=NOW_MS - 600_001),
    message(PLAIN, received_at_ms=NOW_MS - 600_000),
]


def test_all_kinds_of_messages_at_once() -> None:
    corpus = [message(payload) for payload in USUAL + UNUSUAL]
    check([one for pair in zip(corpus, ELSEWHERE * len(corpus), strict=False) for one in pair])
    check([])


_VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**70), 2**70),
    st.sampled_from([None, "0.5", True, 0, -0.0]),
)
_READINGS = st.fixed_dictionaries(
    {
        "sensor_id": st.sampled_from(["fc-1", "ph-1", "many-1", "away-1", "manual", "fc-9", "x"]),
        "quantity": st.sampled_from(["free_chlorine_mg_l", "ph", "orp_mv", "urea_mg_l", "x"]),
        "measured_at": st.sampled_from(
            [NOW, "2026-07-01T08:00:00Z", "2026-04-01T00:00:00.001Z", "2027-01-01T00:00:00.000Z", "x"]
        ),
        "value": _VALUES,
    },
    optional={
        "status": st.sampled_from(["normal", "manual", "fault", "stopped", "odd", None]),
        "by": st.sampled_from(["Li", "李", None, 3]),
    },
)
_MOSTLY_GOOD = st.builds(
    good_reading,
    value=st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 2**60)),
    measured_at=st.integers(-30_000_000_000_000, NOW_MS).map(format_timestamp),
)
_ENVELOPES = st.fixed_dictionaries(
    {
        "schema": st.just(1),
        "gateway_id": st.sampled_from(["gw-a", "gw-a", "gw-a", "gw-b"]),
        "boot_id": st.sampled_from(["b1", "b2", ""]),
        "seq": st.integers(-1, 5),
        "readings": st.one_of(
            st.lists(_MOSTLY_GOOD, min_size=1, max_size=4), st.lists(_READINGS, max_size=3)
        ),
    }
)
_TOPICS = st.sampled_from(
    [TOPIC, TOPIC, TOPIC, "pools/north/gateways/gw-b/readings", "pools/x/gateways/gw-a/readings"]
)


@st.composite
def _messages(draw: st.DrawFn) -> Incoming:
    text = json.dumps(
        draw(_ENVELOPES),
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), None])),
    )
    payload = text.encode()
    if draw(st.integers(0, 3)) == 0:  # some bytes are replaced, removed or doubled
        begin = draw(st.integers(0, len(payload)))
        end = draw(st.integers(begin, min(len(payload), begin + 12)))
        between = draw(
            st.one_of(st.just(payload[begin:end] * 2), st.binary(max_size=3), st.sampled_from([b'"', b"\\"]))
        )
        payload = payload[:begin] + between + payload[end:]
    return message(
        payload, topic=draw(_TOPICS), received_at_ms=NOW_MS + draw(st.sampled_from([0, 0, -600_001]))
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(messages=st.lists(_messages(), max_size=8))
@example(messages=[message(PLAIN), message(PLAIN)])
def test_many_together_are_judged_as_each_by_itself(messages: list[Incoming]) -> None:
    check(messages)


@settings(deadline=None)
@given(
    messages=st.lists(_messages(), max_size=8),
    kept=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_rows_of_some_messages_are_theirs(messages: list[Incoming], kept: list[bool]) -> None:
    _, rows = assess_many(messages, REGISTRY)
    some = rows.of_messages(kept[: len(messages)])
    assert taken_of(some) == tuple(
        [(index, row) for index, row in kind if kept[index]] for kind in taken_of(rows)
    )
    assert some.batch.readings.rows() == [row for _, row in taken_of(some)[0]]


def test_a_failure_inside_refuses_its_message_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = validation.assess

    def fail_on_one(**arguments: Any) -> Assessment:
        if b"oh" in arguments["payload"]:
            raise RuntimeError("a bug")
        return real(**arguments)

    monkeypatch.setattr(intake, "assess", fail_on_one)
    assessments, rows = assess_many([message(PLAIN), message("oh"), message("no")], REGISTRY)
    codes = [[(refusal.position, refusal.code) for refusal in one.refusals] for one in assessments]
    assert codes == [[], [(None, "internal_error")], [(None, "malformed_json")]]
    assert (assessments[1].kind, assessments[1].gateway_id, assessments[1].seq) == (None, "", None)
    assert len(rows.readings) == 1
    ((index, error),) = rows.failures
    assert (index, str(error)) == (1, "a bug")


def test_a_failure_of_the_quick_way_leaves_all_to_the_precise_one(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = [message(PLAIN), message("oh")]
    expected, taken = one_by_one(messages)

    def fail(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(intake, "read_usual", fail)
    assessments, rows = assess_many(messages, REGISTRY)
    assert (assessments, taken_of(rows)) == (expected, taken)
    ((index, error),) = rows.failures
    assert (index, str(error)) == (None, "a bug")


def test_another_version_of_the_registry_is_in_force_at_once() -> None:
    messages = [message(PLAIN)]
    smaller = parse_registry(_REGISTRY.replace('"fc-1"', '"fc-5"'))
    for registry, refused in ((REGISTRY, 0), (smaller, 1), (REGISTRY, 0)):
        ((assessment,), _) = assess_many(messages, registry)
        assert len(assessment.refusals) == refused


def test_what_was_accepted_and_cannot_be_decoded_any_more_is_told() -> None:
    rows = rebuild_many([message(PLAIN), message("{oh")], [set(), set()], LearntSeries())
    assert len(rows.readings) == 1
    ((index, error),) = rows.failures
    assert (index, getattr(error, "code", None)) == (1, "malformed_json")


def test_a_table_that_learns_keeps_its_numbers_and_begins_anew_when_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = LearntSeries()
    first = rebuild_many([message(PLAIN)], [set()], table).readings
    second = rebuild_many([message(PLAIN)], [set()], table).readings
    assert first.series is second.series
    other = json.dumps(good(good_reading(sensor_id="fc-77")))
    third = rebuild_many([message(other)], [set()], table).readings
    assert third.series[: len(first.series)] == first.series
    monkeypatch.setattr("ingest.series_tables._MOST_LEARNT", 1)
    fourth = rebuild_many([message(other)], [set()], table).readings
    assert [row.sensor_id for row in fourth.rows()] == ["fc-77"]
    assert len(fourth.series) == 1


def test_a_reading_twice_in_a_message_is_two_rows() -> None:
    _, rows = assess_many([message(json.dumps(good(good_reading(), good_reading())))], REGISTRY)
    assert [row.position for row in rows.readings.rows()] == [0, 1]
