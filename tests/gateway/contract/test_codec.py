"""The wire: what is taken, what is refused, and why. Payloads are written by hand from the contract's text."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.contract.codec import (
    MAX_PAYLOAD_BYTES,
    decode_message,
    decode_receipt,
    decode_status,
    encode_logbook,
    encode_readings,
    encode_receipt,
    encode_status,
)
from gateway.contract.documents import documents
from gateway.contract.errors import MessageError
from gateway.contract.logbook import EntryKind, LogbookEntry, LogbookMessage
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading, ReadingsMessage, ReadingStatus
from gateway.contract.receipts import Receipt
from gateway.contract.status import DroppedSpan, GatewayState, GatewayStatus
from gateway.contract.times import format_timestamp, parse_timestamp
from gateway.contract.topics import Topic, TopicKind, parse_topic

READINGS = parse_topic("pools/p1/gateways/gw-1/readings")
LOGBOOK = parse_topic("pools/p1/gateways/gw-1/logbook")

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
            "sensor_id": "manual",
            "quantity": "ph",
            "measured_at": "2026-07-01T08:00:00Z",
            "value": 7.31,
            "status": "manual",
            "by": "Li",
            "method": "DPD-1 / phenol red",
        },
    ],
}


def payload(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def reading(**changes: Any) -> bytes:
    """The good message with its first reading changed."""
    first = {**GOOD["readings"][0], **changes}
    return json.dumps({**GOOD, "readings": [first, GOOD["readings"][1]]}).encode()


def test_the_example_of_the_contract_is_taken_as_it_stands() -> None:
    envelope = decode_message(READINGS, payload())
    assert (envelope.gateway_id, envelope.boot_id, envelope.seq) == ("gw-1", "7f3a2c90", 42)
    assert envelope.positions == [0, 1]
    assert envelope.refused == []
    first, second = envelope.items
    assert isinstance(first, Reading)
    assert isinstance(second, Reading)
    # 2026-07-01T08:00:00Z: 20,635 days after the epoch (56 years of 365 days, 14 leap days, 181 days), and 8 hours.
    assert first.measured_at_ms == second.measured_at_ms == (20_635 * 24 + 8) * 3_600_000
    assert (first.value, first.status, second.status) == (0.52, ReadingStatus.NORMAL, ReadingStatus.MANUAL)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xff\xfe", "not_utf8"),
        (b"", "malformed_json"),
        (b'{"schema": 1', "malformed_json"),
        (b"[]", "wrong_shape"),
        (b"null", "wrong_shape"),
        (b'{"schema": 1, "schema": 1}', "duplicate_key"),
        (payload().replace(b'"value": 0.52', b'"value": 0.52, "value": 0.53'), "duplicate_key"),
        (payload().replace(b"0.52", b"NaN"), "not_finite"),
        (payload().replace(b"0.52", b"-Infinity"), "not_finite"),
        (b"[" * 30_000 + b"]" * 30_000, "too_deep"),
        (payload().replace(b"0.52", b"[" * 20 + b"]" * 20), "too_deep"),
        (payload(x=1), "unknown_field"),
        (payload(schema=2), "wrong_shape"),
        (payload(seq=-1), "wrong_shape"),
        (payload(seq="42"), "wrong_shape"),
        (payload(seq=True), "wrong_shape"),
        (payload(boot_id="no spaces"), "wrong_shape"),
        (payload(readings=[]), "empty"),
        (payload(readings={}), "wrong_shape"),
        (payload(readings=None), "wrong_shape"),
        (payload(readings=[1] * 501), "too_many"),
        (payload(gateway_id="gw-2"), "gateway_mismatch"),
        (b" " * (MAX_PAYLOAD_BYTES + 1), "too_large"),
        (payload().replace(b"0.52", b"9" * 5000), "malformed_json"),
    ],
)
def test_a_message_that_cannot_be_trusted_is_refused_whole(body: bytes, code: str) -> None:
    with pytest.raises(MessageError) as refused:
        decode_message(READINGS, body)
    assert refused.value.code == code
    assert refused.value.text


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (reading(extra=1), "unknown_field", "extra"),
        (reading(value="0.52"), "wrong_shape", "value"),
        (reading(value=True), "wrong_shape", "value"),
        (reading(value=None), "missing_value", "normal"),
        (reading(value=None, status="manual"), "missing_value", "manual"),
        (reading().replace(b"0.52", b"1e999"), "not_finite", "value"),
        (reading(measured_at="2026-07-01T08:00:00+00:00"), "bad_time", "measured_at"),
        (reading(measured_at="2026-07-01T08:00:00.12Z"), "bad_time", "measured_at"),
        (reading(measured_at="2026-02-30T08:00:00Z"), "bad_time", "real date"),
        (reading(measured_at=1_782_000_000), "bad_time", "measured_at"),
        (reading(measured_at="2026-07-01T08:00:00Z\n"), "bad_time", "measured_at"),
        (reading(quantity="chlorine"), "unknown_quantity", "chlorine"),
        (reading(sensor_id="FC 1"), "wrong_shape", "sensor_id"),
        (reading(status="broken"), "wrong_shape", "status"),
        (reading(by="\ud800"), "not_utf8", "by"),
        (json.dumps({**GOOD, "readings": [7, GOOD["readings"][1]]}).encode(), "wrong_shape", "readings[0]"),
    ],
)
def test_a_bad_reading_is_refused_alone(body: bytes, code: str, words: str) -> None:
    envelope = decode_message(READINGS, body)
    assert envelope.positions == [1]
    (refused,) = envelope.refused
    assert (refused.position, refused.code) == (0, code)
    assert words in refused.text


@pytest.mark.parametrize(
    "status", [status for status in ReadingStatus if status not in ("normal", "manual", "laboratory")]
)
def test_a_value_may_be_null_when_the_status_says_why(status: ReadingStatus) -> None:
    envelope = decode_message(READINGS, reading(value=None, status=status.value))
    assert envelope.refused == []


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"kind": "closure"}, None),
        ({"kind": "maintenance", "from": "2026-07-01T08:00:00Z", "until": "2026-07-01T09:00:00Z"}, None),
        ({"kind": "maintenance", "from": "2026-07-01T08:00:00Z"}, "missing_field"),
        (
            {"kind": "maintenance", "from": "2026-07-01T08:00:00Z", "until": "2026-07-01T08:00:00Z"},
            "bad_time",
        ),
        ({"kind": "calibration"}, "missing_field"),
        ({"kind": "laboratory_report"}, "missing_field"),
        ({"kind": "laboratory_report", "passed": False}, None),
        ({"kind": "correction"}, "missing_field"),
        ({"kind": "notice_board", "measured_at": "2026-07-01T08:00:00Z"}, "missing_field"),
        ({"kind": "party"}, "wrong_shape"),
    ],
)
def test_each_kind_of_entry_has_what_it_needs(entry: dict[str, Any], code: str | None) -> None:
    body = {"schema": 1, "gateway_id": "gw-1", "boot_id": "b", "seq": 0}
    entries = [{"at": "2026-07-01T08:00:00Z", "by": "Li", **entry}]
    envelope = decode_message(LOGBOOK, json.dumps({**body, "entries": entries}).encode())
    assert [refused.code for refused in envelope.refused] == ([] if code is None else [code])


@given(st.binary(max_size=300))
def test_any_bytes_are_taken_or_refused_and_nothing_else(body: bytes) -> None:
    with pytest.raises(MessageError):
        decode_message(READINGS, body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["schema", "gateway_id", "boot_id", "seq", "readings"]), json_values)
def test_any_json_in_any_field_is_taken_or_refused_and_nothing_else(field: str, found: object) -> None:
    try:
        envelope = decode_message(READINGS, json.dumps({**GOOD, field: found}).encode())
    except MessageError as error:
        assert error.code
    else:
        assert len(envelope.items) + len(envelope.refused) >= 1


@given(
    st.sampled_from(["sensor_id", "quantity", "measured_at", "value", "status", "by", "method"]), json_values
)
def test_any_json_in_a_reading_leaves_its_neighbour_alone(field: str, found: object) -> None:
    try:
        envelope = decode_message(READINGS, reading(**{field: found}))
    except MessageError as error:
        assert error.code in {"not_finite", "too_deep", "duplicate_key"}
    else:
        assert envelope.positions[-1] == 1


instants = st.integers(0, 4_102_444_800_000)


#: All that the form can say: the years 1 to 9999.
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999


@given(st.integers(_FIRST_MS, _LAST_MS))
@example(_FIRST_MS)
@example(_LAST_MS)
@example(-1)
def test_times_go_out_and_come_back(instant_ms: int) -> None:
    text = format_timestamp(instant_ms)
    assert len(text) == len("2026-07-01T08:00:00.000Z")
    assert parse_timestamp(text) == instant_ms


@given(
    st.lists(
        st.builds(
            Reading,
            sensor_id=st.just("fc-1"),
            quantity=st.sampled_from(Quantity),
            measured_at=instants.map(format_timestamp),
            value=st.floats(allow_nan=False, allow_infinity=False),
            status=st.sampled_from(ReadingStatus),
            by=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 2**53 - 1),
)
def test_what_a_gateway_encodes_ingest_decodes(readings: list[Reading], seq: int) -> None:
    envelope = decode_message(READINGS, encode_readings(ReadingsMessage(1, "gw-1", "b", seq, readings)))
    assert envelope.items == readings
    assert envelope.seq == seq


def test_receipts_and_status_go_out_and_come_back() -> None:
    receipt = Receipt("7f3a2c90", [(0, 41), (43, 50)])
    assert encode_receipt(receipt) == b'{"boot_id":"7f3a2c90","stored":[[0,41],[43,50]]}'
    assert decode_receipt(encode_receipt(receipt)) == receipt
    with pytest.raises(MessageError, match="ends before"):
        decode_receipt(b'{"boot_id":"b","stored":[[5,4]]}')
    span = DroppedSpan("2026-07-01T08:00:00Z", "2026-07-01T09:00:00Z", 3)
    status = GatewayStatus(
        GatewayState.ONLINE, "b", "2026-07-01T08:00:00Z", "1.0", 7, [("a", 0, 3)], [span], 12.5
    )
    assert decode_status(encode_status(status)) == status


@pytest.mark.parametrize(
    "topic",
    [
        "pools/P1/gateways/g/readings",
        "pools/p/gateways/g/readings/x",
        "pools//gateways/g/readings",
        "pools/p/gateways/g/other",
        "gateways/g/stored",
        "pools/p/gateways/g/readings\n",
        f"pools/{'p' * 64}/gateways/g/readings",
    ],
)
def test_other_topics_are_refused(topic: str) -> None:
    with pytest.raises(MessageError) as refused:
        parse_topic(topic)
    assert refused.value.code == "bad_topic"


def test_topics_are_taken_apart() -> None:
    assert parse_topic("gateways/gw-1/status") == Topic(TopicKind.STATUS, "gw-1", None)
    assert Topic(TopicKind.READINGS, "gw-1", "p1") == READINGS


def test_committed_documents_are_those_of_the_models(pytestconfig: pytest.Config) -> None:
    folder = pytestconfig.rootpath / "gateway" / "contract" / "schema"
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == documents(), (
        "run `make schemas` and commit what it writes"
    )


def test_the_schemas_take_what_the_codec_takes_and_refuse_what_it_refuses_on_shape() -> None:
    schemas = {name: json.loads(text) for name, text in documents().items()}
    validator = jsonschema.Draft202012Validator(schemas["readings.schema.json"])
    validator.validate(GOOD)
    changes: tuple[dict[str, Any], ...] = (
        {"x": 1},
        {"schema": 2},
        {"seq": -1},
        {"boot_id": "no spaces"},
        {"readings": []},
    )
    for bad in changes:
        assert not validator.is_valid({**GOOD, **bad})
    entry = LogbookEntry(EntryKind.CLOSURE, "2026-07-01T08:00:00Z", "Li")
    message = json.loads(encode_logbook(LogbookMessage(1, "gw-1", "b", 0, [entry])))
    jsonschema.Draft202012Validator(schemas["logbook.schema.json"]).validate(message)
    jsonschema.Draft202012Validator(schemas["receipt.schema.json"]).validate(
        {"boot_id": "b", "stored": [[0, 41]]}
    )
