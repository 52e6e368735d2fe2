"""What the codec refuses, whole or in part, and what it never does: raise anything but MessageError."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.codec import (
    Envelope,
    decode_message,
    decode_receipt,
    decode_status,
    encode_logbook,
    encode_readings,
    encode_receipt,
    encode_status,
)
from gateway.contract.errors import MessageError
from gateway.contract.logbook import EntryKind, LogbookEntry, LogbookMessage
from gateway.contract.quantities import Quantity
from gateway.contract.readings import RESULT_STATUSES, Reading, ReadingsMessage, ReadingStatus
from gateway.contract.receipts import Receipt
from gateway.contract.status import DroppedSpan, GatewayState, GatewayStatus
from gateway.contract.times import format_timestamp
from gateway.contract.topics import TopicKind, parse_topic

READINGS = parse_topic("pools/qf-main/gateways/gw-1/readings")
LOGBOOK = parse_topic("pools/qf-main/gateways/gw-1/logbook")
STATUS = parse_topic("gateways/gw-1/status")

GOOD: dict[str, Any] = {
    "schema": 1,
    "gateway_id": "gw-1",
    "boot_id": "7f3a2c90",
    "seq": 42,
    "readings": [
        {
            "sensor_id": "fc-1",
            "quantity": "free_chlorine_mg_l",
            "measured_at": "2026-07-01T08:00:00.000Z",
            "value": 0.52,
        },
        {
            "sensor_id": "ph-1",
            "quantity": "ph",
            "measured_at": "2026-07-01T08:00:00Z",
            "value": 7.31,
            "status": "normal",
        },
        {
            "sensor_id": "t-1",
            "quantity": "water_temp_c",
            "measured_at": "2026-07-01T08:00:00Z",
            "value": None,
            "status": "fault",
        },
    ],
}
GOOD_TEXT = json.dumps(GOOD)


def _with(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def _without(key: str) -> bytes:
    return json.dumps({name: value for name, value in GOOD.items() if name != key}).encode()


def _swap(old: str, new: str) -> bytes:
    assert GOOD_TEXT.count(old) == 1
    return GOOD_TEXT.replace(old, new).encode()


WHOLE = {
    "empty payload": (b"", "malformed_json"),
    "not JSON": (b"hello", "malformed_json"),
    "cut off": (GOOD_TEXT[:-3].encode(), "malformed_json"),
    "two documents": ((GOOD_TEXT + "{}").encode(), "malformed_json"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD_TEXT.encode(), "malformed_json"),
    "latin-1": (_swap('"gw-1"', '"gw-\xe9"').decode().encode("latin-1"), "not_utf8"),
    "UTF-16": (GOOD_TEXT.encode("utf-16"), "not_utf8"),
    "NaN": (_swap("0.52", "NaN"), "not_finite"),
    "Infinity": (_swap("0.52", "-Infinity"), "not_finite"),
    "integer of 5000 digits": (_swap("0.52", "1" * 5000), "malformed_json"),
    "top-level key twice": (_swap('"seq": 42', '"seq": 42, "seq": 42'), "duplicate_key"),
    "reading's key twice": (_swap('"value": 0.52', '"value": 0.52, "value": 0.6'), "duplicate_key"),
    "key twice by escape": (_swap('"value": 0.52', '"value": 0.52, "v\\u0061lue": 0.6'), "duplicate_key"),
    "too deep in a reading": (_swap("0.52", "[" * 30 + "]" * 30), "too_deep"),
    "too deep for a parser": (b"[" * 30000 + b"]" * 30000, "too_deep"),
    "too deep objects": (b'{"a":' * 9000 + b"1" + b"}" * 9000, "too_deep"),
    "array on top": (b"[1]", "wrong_shape"),
    "null on top": (b"null", "wrong_shape"),
    "unknown top-level field": (_with(pool_id="qf-main"), "unknown_field"),
    "seq is text": (_with(seq="42"), "wrong_shape"),
    "seq is a boolean": (_with(seq=True), "wrong_shape"),
    "seq is negative": (_with(seq=-1), "wrong_shape"),
    "seq is too large": (_with(seq=2**53), "wrong_shape"),
    "boot_id with a space": (_with(boot_id="7f 3a"), "wrong_shape"),
    "boot_id with a newline at its end": (_with(boot_id="7f3a\n"), "wrong_shape"),
    "readings is an object": (_with(readings={}), "wrong_shape"),
    "readings is null": (_with(readings=None), "wrong_shape"),
    "schema 2": (_with(schema=2), "wrong_shape"),
    "schema is text": (_with(schema="1"), "wrong_shape"),
    "another gateway": (_with(gateway_id="gw-2"), "gateway_mismatch"),
    "gateway with a newline at its end": (_with(gateway_id="gw-1\n"), "wrong_shape"),
    "501 readings": (_with(readings=GOOD["readings"][:1] * 501), "too_many"),
    "no readings": (_with(readings=[]), "empty"),
    "above 64 KiB": (GOOD_TEXT.encode() + b" " * (64 * 1024), "too_large"),
    "entries in readings": (
        json.dumps({k: v for k, v in GOOD.items() if k != "readings"} | {"entries": []}).encode(),
        None,
    ),
    **{f"{key} missing": (_without(key), None) for key in GOOD},
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_message_refused(name: str) -> None:
    payload, code = WHOLE[name]
    with pytest.raises(MessageError) as caught:
        decode_message(READINGS, payload)
    if code is not None:
        assert caught.value.code == code
    assert len(caught.value.text) > 10
    assert len(caught.value.text) < 500


def test_payload_of_exactly_64_kib_is_taken() -> None:
    payload = GOOD_TEXT.encode().ljust(64 * 1024)
    assert len(decode_message(READINGS, payload).items) == 3


def test_500_readings_are_taken() -> None:
    small = {"sensor_id": "a", "quantity": "ph", "measured_at": "2026-07-01T08:00:00Z", "value": 7}
    assert len(decode_message(READINGS, _with(readings=[small] * 500)).items) == 500


def test_status_topic_is_no_message_of_items() -> None:
    entry: dict[str, Any] = {"schema": 1, "gateway_id": "gw-1", "boot_id": "b", "seq": 0}
    entry |= {"entries": [{"kind": "closure", "at": "2026-07-01T08:00:00Z", "by": "Li"}]}
    with pytest.raises(MessageError):
        decode_message(STATUS, json.dumps(entry).encode())


SINGLE: dict[str, tuple[dict[str, Any], str]] = {
    "unknown field": ({"unit": "mg/L"}, "unknown_field"),
    "value is text": ({"value": "0.52"}, "wrong_shape"),
    "value is a boolean": ({"value": True}, "wrong_shape"),
    "value is a list": ({"value": [1]}, "wrong_shape"),
    "null with status normal": ({"value": None}, "missing_value"),
    "null with status manual": ({"value": None, "status": "manual"}, "missing_value"),
    "null with status laboratory": ({"value": None, "status": "laboratory"}, "missing_value"),
    "local time": ({"measured_at": "2026-07-01T08:00:00+08:00"}, "bad_time"),
    "no zone": ({"measured_at": "2026-07-01T08:00:00"}, "bad_time"),
    "six decimals": ({"measured_at": "2026-07-01T08:00:00.000000Z"}, "bad_time"),
    "unreal date": ({"measured_at": "2026-02-30T08:00:00Z"}, "bad_time"),
    "hour 24": ({"measured_at": "2026-02-20T24:00:00Z"}, "bad_time"),
    "second 60": ({"measured_at": "2026-06-30T23:59:60Z"}, "bad_time"),
    "year 0": ({"measured_at": "0000-06-30T23:59:00Z"}, "bad_time"),
    "arabic digits": ({"measured_at": "٢٠٢٦-07-01T08:00:00Z"}, "bad_time"),
    "time with newline": ({"measured_at": "2026-07-01T08:00:00Z\n"}, "bad_time"),
    "time is a number": ({"measured_at": 1782900000}, "bad_time"),
    "unknown quantity": ({"quantity": "free_chlorine"}, "unknown_quantity"),
    "unknown status": ({"status": "ok"}, "wrong_shape"),
    "bad sensor id": ({"sensor_id": "FC 1"}, "wrong_shape"),
    "sensor id with newline": ({"sensor_id": "fc-1\n"}, "wrong_shape"),
    "long by": ({"by": "x" * 201}, "wrong_shape"),
}


@pytest.mark.parametrize("name", SINGLE)
def test_single_reading_refused_and_neighbours_kept(name: str) -> None:
    changes, code = SINGLE[name]
    message = deepcopy(GOOD)
    message["readings"][1] = {**message["readings"][0], **changes}
    envelope = decode_message(READINGS, json.dumps(message).encode())
    assert [(refused.position, refused.code) for refused in envelope.refused] == [(1, code)]
    assert envelope.positions == [0, 2]
    assert [item.sensor_id for item in envelope.items] == ["fc-1", "t-1"]
    assert len(envelope.refused[0].text) < 500


@pytest.mark.parametrize("literal", ["1e999", "-1e400", "1" + "0" * 400])
def test_number_that_overflows_is_refused_alone(literal: str) -> None:
    envelope = decode_message(READINGS, _swap("0.52", literal))
    assert [(refused.position, refused.code) for refused in envelope.refused] == [(0, "not_finite")]
    assert envelope.positions == [1, 2]


@pytest.mark.parametrize("key", ["sensor_id", "quantity", "measured_at", "value"])
def test_reading_without_a_field_refused(key: str) -> None:
    message = deepcopy(GOOD)
    del message["readings"][0][key]
    envelope = decode_message(READINGS, json.dumps(message).encode())
    assert [(refused.position, refused.code) for refused in envelope.refused] == [(0, "missing_field")]
    assert key in envelope.refused[0].text


@pytest.mark.parametrize("item", [None, 7, "x", [], True])
def test_item_that_is_no_object_refused_alone(item: object) -> None:
    envelope = decode_message(READINGS, _with(readings=[item, GOOD["readings"][0]]))
    assert [refused.position for refused in envelope.refused] == [0]
    assert envelope.positions == [1]


NEEDS: dict[str, dict[str, Any]] = {
    "closure": {},
    "reopening": {},
    "maintenance": {"from": "2026-07-01T08:00:00Z", "until": "2026-07-01T09:00:00Z"},
    "calibration": {"sensor_id": "fc-1"},
    "laboratory_report": {"passed": False},
    "correction": {"refers_to": "publication-1"},
    "acknowledgement": {"refers_to": "verdict-1"},
    "notice_board": {"measured_at": "2026-07-01T07:50:00Z", "quantities": ["ph", "water_temp_c"]},
}


def _entries(*entries: dict[str, Any]) -> bytes:
    return json.dumps(
        {"schema": 1, "gateway_id": "gw-1", "boot_id": "b", "seq": 3, "entries": entries}
    ).encode()


@pytest.mark.parametrize("kind", NEEDS)
def test_entry_needs_what_its_kind_needs(kind: str) -> None:
    full: dict[str, Any] = {"kind": kind, "at": "2026-07-01T08:00:00Z", "by": "Li"} | NEEDS[kind]
    assert not decode_message(LOGBOOK, _entries(full)).refused
    for key in NEEDS[kind]:
        for broken in ({name: value for name, value in full.items() if name != key}, full | {key: None}):
            envelope = decode_message(LOGBOOK, _entries(full, broken))
            assert [(refused.position, refused.code) for refused in envelope.refused] == [
                (1, "missing_field")
            ]
            assert f"`{key}`" in envelope.refused[0].text


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "party"},
        {"at": "2026-07-01 08:00"},
        {"by": 7},
        {"until": "2026-07-01T08:00:00Z"},
        {"until": "2026-13-01T08:00:00Z"},
        {"shape": "round"},
        {"text": "x" * 2001},
    ],
)
def test_entry_refused(changes: dict[str, Any]) -> None:
    full: dict[str, Any] = {"kind": "maintenance", "at": "2026-07-01T08:00:00Z", "by": "Li"} | NEEDS[
        "maintenance"
    ]
    envelope = decode_message(LOGBOOK, _entries(full | changes, full))
    assert [refused.position for refused in envelope.refused] == [0]
    assert envelope.positions == [1]


@pytest.mark.parametrize("quantities", [[], ["chlorine"]])
def test_notice_board_names_real_quantities(quantities: list[str]) -> None:
    entry = {
        "kind": "notice_board",
        "at": "2026-07-01T08:00:00Z",
        "by": "Li",
        "measured_at": "2026-07-01T07:50:00Z",
    }
    envelope = decode_message(LOGBOOK, _entries(entry | {"quantities": quantities}))
    assert [refused.position for refused in envelope.refused] == [0]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'{"boot_id": "b", "stored": []}',
        b'{"boot_id": "b", "stored": [[3, 2]]}',
        b'{"boot_id": "b", "stored": [[1]]}',
        b'{"boot_id": "b", "boot_id": "c", "stored": [[1, 2]]}',
        b'{"boot_id": "b", "stored": [[1, 2]], "x": 1}',
    ],
)
def test_receipt_refused(payload: bytes) -> None:
    with pytest.raises(MessageError):
        decode_receipt(payload)


@pytest.mark.parametrize(
    "changes",
    [
        {"since": "2026-02-30T00:00:00Z"},
        {"state": "asleep"},
        {"boot_id": "b\n"},
        {"outbox": [["b", 5, 3]]},
        {"dropped": [{"from": "2026-07-01T00:00:00Z", "to": "2026-07-32T00:00:00Z", "readings": 1}]},
        {"colour": "red"},
    ],
)
def test_status_refused(changes: dict[str, Any]) -> None:
    good = {"state": "online", "boot_id": "b", "since": "2026-07-01T00:00:00Z"}
    assert decode_status(json.dumps(good).encode()).state is GatewayState.ONLINE
    with pytest.raises(MessageError):
        decode_status(json.dumps(good | changes).encode())


def test_status_with_infinite_hours_refused() -> None:
    with pytest.raises(MessageError):
        decode_status(
            b'{"state": "online", "boot_id": "b", "since": "2026-07-01T00:00:00Z", "hours_left": 1e999}'
        )


# What our own models can say comes back as it was.
_ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
_times = st.integers(min_value=0, max_value=4_102_444_800_000).map(format_timestamp)
_values = st.floats(allow_nan=False, allow_infinity=False)
_seqs = st.integers(min_value=0, max_value=2**53 - 1)


@st.composite
def _readings(draw: st.DrawFn) -> Reading:
    status = draw(st.sampled_from(ReadingStatus))
    value = draw(_values if status in RESULT_STATUSES else st.none() | _values)
    return Reading(
        sensor_id=draw(_ids),
        quantity=draw(st.sampled_from(Quantity)),
        measured_at=draw(_times),
        value=value,
        status=status,
        by=draw(st.none() | _texts),
        method=draw(st.none() | _texts),
    )


@given(st.lists(_readings(), min_size=1, max_size=8), _seqs)
def test_round_trip_of_readings(readings: list[Reading], seq: int) -> None:
    message = ReadingsMessage(schema=1, gateway_id="gw-1", boot_id="b", seq=seq, readings=readings)
    envelope = decode_message(READINGS, encode_readings(message))
    assert envelope == Envelope(
        kind=TopicKind.READINGS,
        gateway_id="gw-1",
        boot_id="b",
        seq=seq,
        items=readings,
        positions=list(range(len(readings))),
        refused=[],
    )


@given(st.sampled_from(EntryKind), _texts, _times, st.booleans())
def test_round_trip_of_entries(kind: EntryKind, text: str, at: str, passed: bool) -> None:  # noqa: FBT001 - drawn
    entry = LogbookEntry(
        kind=kind,
        at=at,
        by="Li",
        text=text,
        from_="2026-07-01T08:00:00Z",
        until="2026-07-01T09:00:00.001Z",
        sensor_id="fc-1",
        passed=passed,
        refers_to=text,
        measured_at=at,
        quantities=["ph"],
    )
    message = LogbookMessage(schema=1, gateway_id="gw-1", boot_id="b", seq=0, entries=[entry])
    assert decode_message(LOGBOOK, encode_logbook(message)).items == [entry]


@given(st.lists(st.tuples(_seqs, _seqs).map(sorted).map(tuple), min_size=1, max_size=20))
def test_round_trip_of_receipts(stored: list[tuple[int, int]]) -> None:
    receipt = Receipt(boot_id="b", stored=stored)
    assert decode_receipt(encode_receipt(receipt)) == receipt


def test_round_trip_of_a_status() -> None:
    status = GatewayStatus(
        state=GatewayState.OFFLINE,
        boot_id="b",
        since="2026-07-01T08:00:00Z",
        version="0.1",
        next_seq=7,
        outbox=[("a", 3, 9)],
        dropped=[DroppedSpan(from_="2026-07-01T08:00:00Z", to="2026-07-01T09:00:00Z", readings=4)],
        hours_left=72.5,
    )
    assert decode_status(encode_status(status)) == status


# Whatever comes: an envelope or a MessageError.
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _tame(topic_text: str, payload: bytes) -> None:
    """Decode in every way; anything but a MessageError escapes and fails the test."""
    refusals = []
    try:
        envelope = decode_message(parse_topic(topic_text), payload)
    except MessageError as error:
        refusals.append((error.code, error.text))
    else:
        refusals += [(refused.code, refused.text) for refused in envelope.refused]
        places = sorted([*envelope.positions, *(refused.position for refused in envelope.refused)])
        assert places == list(range(len(places)))
        assert len(envelope.items) == len(envelope.positions)
    for decode in (decode_receipt, decode_status):
        try:
            decode(payload)
        except MessageError as error:
            refusals.append((error.code, error.text))
    for code, text in refusals:
        assert code.isidentifier()
        # Short enough for a table of quarantined messages, and storable.
        assert 0 < len(text.encode()) < 2000


@given(st.binary(max_size=200))
def test_random_bytes_never_escape(payload: bytes) -> None:
    _tame("pools/qf-main/gateways/gw-1/readings", payload)
    _tame("gateways/gw-1/status", payload)


@given(st.data())
@settings(max_examples=400)
def test_mutated_messages_never_escape(data: st.DataObject) -> None:
    message = deepcopy(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        target = data.draw(
            st.sampled_from([message, *(r for r in message.get("readings") or () if isinstance(r, dict))])
        )
        key = data.draw(st.sampled_from(sorted(target)) | st.text(max_size=8)) if target else "x"
        if data.draw(st.booleans()):
            target.pop(key, None)
        else:
            target[key] = data.draw(_json)
        if not isinstance(message.get("readings"), list):
            break
    _tame(
        "pools/qf-main/gateways/gw-1/readings",
        json.dumps(message, ensure_ascii=data.draw(st.just(True))).encode(),
    )


@given(st.integers(0, len(GOOD_TEXT) - 1), st.binary(max_size=3), st.integers(0, 3))
@settings(max_examples=400)
def test_flipped_bytes_never_escape(at: int, inserted: bytes, removed: int) -> None:
    payload = GOOD_TEXT.encode()
    _tame("pools/qf-main/gateways/gw-1/readings", payload[:at] + inserted + payload[at + removed :])


@pytest.mark.parametrize("where", ["by", "sensor_id", "quantity", "measured_at", "strange", "\ud800"])
def test_lone_surrogates_are_refused_alone(where: str) -> None:
    message = deepcopy(GOOD)
    message["readings"][0][where] = "\ud800"
    payload = json.dumps(message).encode()
    _tame("pools/qf-main/gateways/gw-1/readings", payload)
    envelope = decode_message(READINGS, payload)
    assert [refused.position for refused in envelope.refused] == [0]
    assert envelope.positions == [1, 2]


@pytest.mark.parametrize("where", ["boot_id", "gateway_id", "seq", "strange", "\ud800"])
def test_lone_surrogates_of_the_envelope_refuse_it(where: str) -> None:
    payload = json.dumps(GOOD | {where: "\ud800"}).encode()
    _tame("pools/qf-main/gateways/gw-1/readings", payload)
    with pytest.raises(MessageError):
        decode_message(READINGS, payload)
