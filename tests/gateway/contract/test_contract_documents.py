"""The committed documents: as the models are, and as strict as the codec."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry as Documents
from referencing.jsonschema import DRAFT202012

import gateway.contract
from gateway.contract.codec import decode_message, decode_receipt, decode_status
from gateway.contract.documents import documents
from gateway.contract.errors import MessageError
from gateway.contract.topics import parse_topic

_FOLDER = Path(gateway.contract.__path__[0]) / "schema"

# The examples of the design.
READINGS = """{"schema": 1, "gateway_id": "gw-qingfeng-1", "boot_id": "7f3a2c90", "seq": 42,
 "readings": [
  {"sensor_id": "fc-1", "quantity": "free_chlorine_mg_l", "measured_at": "2026-07-01T08:00:00.000Z", "value": 0.52},
  {"sensor_id": "manual", "quantity": "ph", "measured_at": "2026-07-01T08:00:00Z", "value": 7.31,
   "status": "manual", "by": "Li", "method": "DPD-1 / phenol red"}]}"""
RECEIPT = '{"boot_id": "7f3a2c90", "stored": [[0, 41], [43, 50]]}'
STATUS = """{"state": "online", "boot_id": "7f3a2c90", "since": "2026-07-01T07:00:00Z", "version": "0.1.0",
 "next_seq": 51, "outbox": [["7f3a2c90", 42, 43]],
 "dropped": [{"from": "2026-06-01T00:00:00Z", "to": "2026-06-02T00:00:00.000Z", "readings": 12}], "hours_left": 71.5}"""
LOGBOOK = """{"schema": 1, "gateway_id": "gw-qingfeng-1", "boot_id": "7f3a2c90", "seq": 43, "entries": [
 {"kind": "closure", "at": "2026-07-01T08:00:00Z", "by": "Li", "text": "storm"},
 {"kind": "maintenance", "at": "2026-07-01T08:00:00Z", "by": "Li",
  "from": "2026-07-01T08:00:00Z", "until": "2026-07-01T09:00:00Z"},
 {"kind": "notice_board", "at": "2026-07-01T08:00:00Z", "by": "Li", "measured_at": "2026-07-01T07:55:00Z",
  "quantities": ["ph"]}]}"""
_READINGS_TOPIC = parse_topic("pools/qf-main/gateways/gw-qingfeng-1/readings")
_LOGBOOK_TOPIC = parse_topic("pools/qf-main/gateways/gw-qingfeng-1/logbook")


def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((_FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_committed_documents_are_those_of_the_models() -> None:
    committed = {path.name: path.read_text(encoding="utf-8") for path in _FOLDER.glob("*.json")}
    assert committed == documents(), "models and documents differ: run `make schemas`"


def test_documents_are_the_same_each_time() -> None:
    assert documents() == documents()


@pytest.mark.parametrize(
    ("name", "text"), [("readings", READINGS), ("receipt", RECEIPT), ("status", STATUS), ("logbook", LOGBOOK)]
)
def test_examples_of_the_design_are_valid(name: str, text: str) -> None:
    _validator(name).validate(json.loads(text))


def test_examples_of_the_design_are_decoded() -> None:
    assert len(decode_message(_READINGS_TOPIC, READINGS.encode()).items) == 2
    assert len(decode_message(_LOGBOOK_TOPIC, LOGBOOK.encode()).items) == 3
    assert decode_receipt(RECEIPT.encode()).stored == [(0, 41), (43, 50)]
    assert decode_status(STATUS.encode()).hours_left == 71.5


_SHAPE_CODES = {"wrong_shape", "unknown_field", "missing_field", "too_many", "empty"}
_CHANGES: list[dict[str, Any]] = [
    {"pool_id": "qf-main"},
    {"schema": 2},
    {"schema": "1"},
    {"schema": None},
    {"gateway_id": "GW"},
    {"gateway_id": "gw-qingfeng-1\n"},
    {"boot_id": ""},
    {"boot_id": "a b"},
    {"seq": -1},
    {"seq": 2**53},
    {"seq": "1"},
    {"seq": 1.5},
    {"seq": None},
]


@pytest.mark.parametrize("name", ["readings", "logbook"])
def test_schema_refuses_whole_messages_as_the_codec_does(name: str) -> None:
    wrong_items: list[Any]
    topic, text, key, most = {
        "readings": (_READINGS_TOPIC, READINGS, "readings", 500),
        "logbook": (_LOGBOOK_TOPIC, LOGBOOK, "entries", 100),
    }[name]
    good = json.loads(text)
    wrong_items = [[], {}, None, "x", good[key][:1] * (most + 1)]
    broken = [good | change for change in _CHANGES]
    broken += [good | {key: items} for items in wrong_items]
    broken += [{one: value for one, value in good.items() if one != left_out} for left_out in good]
    broken += [[good], None, 7, "x"]
    validator = _validator(name)
    for payload in broken:
        with pytest.raises(MessageError) as caught:
            decode_message(topic, json.dumps(payload).encode())
        assert caught.value.code in _SHAPE_CODES, caught.value.text
        assert not validator.is_valid(payload), payload


@pytest.mark.parametrize(
    "change",
    [
        {"value": None},
        {"value": None, "status": "laboratory"},
        {"value": "0.5"},
        {"value": True},
        {"unit": "mg/L"},
        {"quantity": "chlorine"},
        {"measured_at": "2026-07-01T08:00:00+08:00"},
        {"measured_at": "2026-07-01T08:00:00Z\n"},
        {"sensor_id": "fc-1\n"},
        {"status": "ok"},
        {"by": "x" * 201},
    ],
)
def test_schema_refuses_single_readings_as_the_codec_does(change: dict[str, Any]) -> None:
    message = json.loads(READINGS)
    message["readings"][0] |= change
    assert [
        refused.position for refused in decode_message(_READINGS_TOPIC, json.dumps(message).encode()).refused
    ] == [0]
    assert not _validator("readings").is_valid(message)


def test_null_of_a_silent_sensor_is_valid() -> None:
    message = json.loads(READINGS)
    message["readings"][0] |= {"value": None, "status": "no_communication"}
    assert not decode_message(_READINGS_TOPIC, json.dumps(message).encode()).refused
    _validator("readings").validate(message)


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "maintenance", "from": "2026-07-01T08:00:00Z"},
        {"kind": "calibration", "sensor_id": None},
        {"kind": "laboratory_report"},
        {"kind": "correction"},
        {"kind": "acknowledgement"},
        {"kind": "notice_board", "measured_at": "2026-07-01T07:55:00Z"},
        {"kind": "notice_board", "measured_at": "2026-07-01T07:55:00Z", "quantities": []},
        {"kind": "notice_board", "measured_at": "2026-07-01T07:55:00Z", "quantities": ["chlorine"]},
        {"kind": "party"},
    ],
)
def test_schema_refuses_entries_as_the_codec_does(entry: dict[str, Any]) -> None:
    message = json.loads(LOGBOOK)
    message["entries"][0] = {"at": "2026-07-01T08:00:00Z", "by": "Li"} | entry
    assert [
        refused.position for refused in decode_message(_LOGBOOK_TOPIC, json.dumps(message).encode()).refused
    ] == [0]
    assert not _validator("logbook").is_valid(message)


def test_asyncapi_refers_only_to_what_is_there() -> None:
    asyncapi = json.loads((_FOLDER / "asyncapi.json").read_text(encoding="utf-8"))
    contents = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in _FOLDER.glob("*.json")}
    base = "urn:contract:"
    resources = [(base + name, DRAFT202012.create_resource(content)) for name, content in contents.items()]
    known: Documents[Any] = Documents().with_resources(resources)
    resolver = known.resolver(base_uri=f"{base}asyncapi.json")
    references = _references(asyncapi)
    assert len(references) >= 16
    for reference in references:
        target = f"{base}{reference[2:]}" if reference.startswith("./") else reference
        assert resolver.lookup(target).contents


def _references(content: object) -> list[str]:
    if isinstance(content, dict):
        own = [content["$ref"]] if "$ref" in content else []
        return own + [found for child in content.values() for found in _references(child)]
    if isinstance(content, list):
        return [found for child in content for found in _references(child)]
    return []


def test_asyncapi_tells_addresses_and_delivery() -> None:
    asyncapi = json.loads(documents()["asyncapi.json"])
    assert asyncapi["asyncapi"] == "3.0.0"
    assert {name: channel["address"] for name, channel in asyncapi["channels"].items()} == {
        "readings": "pools/{pool_id}/gateways/{gateway_id}/readings",
        "logbook": "pools/{pool_id}/gateways/{gateway_id}/logbook",
        "stored": "gateways/{gateway_id}/stored",
        "status": "gateways/{gateway_id}/status",
    }
    delivery = {
        name: (
            operation["action"],
            operation["bindings"]["mqtt"]["qos"],
            operation["bindings"]["mqtt"]["retain"],
        )
        for name, operation in asyncapi["operations"].items()
    }
    assert delivery == {
        "sendReadings": ("send", 1, False),
        "sendLogbook": ("send", 1, False),
        "receiveStored": ("receive", 1, False),
        "sendStatus": ("send", 1, True),
    }
