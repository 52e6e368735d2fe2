"""Whatever a sender writes ends as a contract's error or as something taken: no other exception, no unbounded work."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.codec import MAX_PAYLOAD_BYTES, decode_receipt, decode_status
from gateway.contract.credentials import parse_credentials
from gateway.contract.errors import ContractError, MessageError
from gateway.contract.registry_file import parse_registry
from gateway.contract.topics import parse_topic
from ingest.validation import Assessment, assess, build_rows

READINGS = "pools/north/gateways/gw-a/readings"
LOGBOOK = "pools/north/gateways/gw-a/logbook"
STATUS = "gateways/gw-a/status"
NOON_MS = 1_782_892_800_000
REGISTRY_TEXT = """
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
[[pools.north.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 60
[gateways.gw-a]
pools = ["north"]
"""
REGISTRY = parse_registry(REGISTRY_TEXT)
CREDENTIALS_TEXT = '[gateways.gw-a]\nusername = "a"\npassword = "b"\nhost = "c"\nport = 1\n'
#: A payload is 64 KiB; what Python needs for the worst of them has a bound too.
MOST_BYTES = 32 * 1024 * 1024


def judged(topic: str, payload: bytes) -> Assessment:
    """Assess a message and do with it what ingest does; the journal's rebuild must take what was accepted."""
    found = assess(topic=topic, payload=payload, registry=REGISTRY, received_at_ms=NOON_MS)
    for refusal in found.refusals:
        assert len(refusal.text) <= 500
        refusal.text.encode()
    if not found.is_refused:
        refused = {refusal.position for refusal in found.refusals if refusal.position is not None}
        rows = build_rows(topic=topic, payload=payload, received_at_ms=NOON_MS, refused=refused)
        assert len(rows.readings) + len(rows.logbook) == found.items - len(refused)
    return found


def envelope(items: str, *, name: str = "readings", head: str = "") -> bytes:
    return (
        f'{{{head}"schema": 1, "gateway_id": "gw-a", "boot_id": "b1", "seq": 0, "{name}": {items}}}'.encode()
    )


READING = '{"sensor_id": "fc-1", "quantity": "free_chlorine_mg_l", "measured_at": "2026-07-01T08:00:00Z", "value": 0.5}'


def _filled(piece: str, *, before: str = "", after: str = "") -> bytes:
    """A payload of just below the bound."""
    room = MAX_PAYLOAD_BYTES - len(before.encode()) - len(after.encode())
    return (before + piece * (room // len(piece.encode())) + after).encode()


KEYS = ",".join(f'"{number:x}":0' for number in range(6000))
WORST: dict[str, bytes] = {
    "deep arrays": _filled("["),
    "deep objects": _filled('{"a":'),
    "deep and closed": b"[" * 30_000 + b"]" * 30_000,
    "deep value": envelope(READING.replace("0.5", "[" * 20_000 + "]" * 20_000).join("[]")),
    "deep beside good": envelope(f"[{READING}]", head='"x": ' + "[" * 20_000 + "]" * 20_000 + ", "),
    "many empty arrays": _filled("[],", before="[", after="0]"),
    "many empty objects": _filled("{},", before="[", after="0]"),
    "many keys": f"{{{KEYS}}}".encode(),
    "many keys in an item": envelope(f"[{{{KEYS}}}]"),
    "one key many times": _filled('"a":0,', before="{", after='"a":0}'),
    "digits": _filled("9"),
    "digits of a value": envelope(READING.replace("0.5", "9" * 60_000).join("[]")),
    "huge exponent": envelope(READING.replace("0.5", "1e" + "9" * 10_000).join("[]")),
    "beyond a double": envelope(READING.replace("0.5", "1e999").join("[]")),
    "huge seq": envelope(f"[{READING}]").replace(b'"seq": 0', b'"seq": ' + b"9" * 4000),
    "seq of a fraction": envelope(f"[{READING}]").replace(b'"seq": 0', b'"seq": 1e308'),
    "NaN": envelope(READING.replace("0.5", "NaN").join("[]")),
    "ten thousand readings": envelope("[" + ",".join(["{}"] * 10_000) + "]"),
    "ten thousand numbers": envelope("[" + ",".join(["0"] * 10_000) + "]"),
    "long id": envelope(READING.replace("fc-1", "a" * 60_000).join("[]")),
    "long hyphens": envelope(READING.replace("fc-1", "-" * 60_000).join("[]")),
    "long boot": envelope(f"[{READING}]").replace(b"b1", b"b" * 60_000),
    "long time": envelope(READING.replace("08:00:00", "08:00:00." + "0" * 60_000).join("[]")),
    "year 0": envelope(READING.replace("2026", "0000").join("[]")),
    "lone surrogate": envelope(READING.replace("fc-1", "\\ud800").join("[]")),
    "lone surrogates": envelope(READING.replace("fc-1", "\\udfff" * 9_000).join("[]")),
    "surrogate key": envelope(READING.replace("value", "\\ud800").join("[]")),
    "NUL in a name": envelope(READING.replace("fc-1", "fc-1\\u0000").join("[]")),
    "NULs": b"\0" * MAX_PAYLOAD_BYTES,
    "BOM": b"\xef\xbb\xbf" + envelope(f"[{READING}]"),
    "UTF-16": envelope(f"[{READING}]").decode().encode("utf-16"),
    "UTF-32": envelope(f"[{READING}]").decode().encode("utf-32"),
    "overlong UTF-8": envelope(f"[{READING}]").replace(b"fc-1", b"\xc0\xaf"),
    "high bytes": b"\xff" * MAX_PAYLOAD_BYTES,
    "nothing": b"",
    "blanks": b" " * MAX_PAYLOAD_BYTES,
    "an open string": _filled("\\\\", before='"'),
    "too large": b"[" + b" " * MAX_PAYLOAD_BYTES + b"]",
    "of the broker's bound": b"[" * (256 * 1024),
}


@pytest.mark.parametrize("name", WORST)
@pytest.mark.parametrize("topic", [READINGS, LOGBOOK, STATUS])
def test_the_worst_payloads_are_refused_in_bounded_memory(name: str, topic: str) -> None:
    tracemalloc.start()
    try:
        found = judged(topic, WORST[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.refusals
    assert peak < MOST_BYTES


@pytest.mark.parametrize("name", WORST)
@pytest.mark.parametrize("decode", [decode_receipt, decode_status])
def test_the_worst_payloads_are_no_receipt_and_no_status(name: str, decode: Callable[[bytes], Any]) -> None:
    with pytest.raises(MessageError):
        decode(WORST[name])


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(st.characters(), max_size=20),
    st.sampled_from(
        [
            "fc-1",
            "manual",
            "free_chlorine_mg_l",
            "ph",
            "2026-07-01T08:00:00Z",
            "normal",
            "gw-a",
            "b1",
            "closure",
        ]
    ),
)
names = st.sampled_from(
    """schema gateway_id boot_id seq readings entries sensor_id quantity measured_at value status by method kind at text
    from until quantities unit refers_to state since stored""".split()  # noqa: SIM905 - a list of words reads better so
) | st.text(st.characters(), max_size=5)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=30,
)
#: One that is near the contract finds more than nonsense does.
near = st.fixed_dictionaries(
    {
        "schema": st.just(1) | scalars,
        "gateway_id": st.just("gw-a") | scalars,
        "boot_id": st.just("b1") | scalars,
        "seq": st.integers(0, 9) | scalars,
    },
    optional={
        "readings": st.lists(
            st.dictionaries(names, values, max_size=5)
            | st.fixed_dictionaries(
                {
                    "sensor_id": st.just("fc-1") | scalars,
                    "quantity": st.just("free_chlorine_mg_l") | scalars,
                    "measured_at": st.just("2026-07-01T08:00:00Z") | scalars,
                    "value": scalars,
                },
                optional={"status": scalars, "by": scalars, "method": scalars},
            ),
            max_size=4,
        )
        | values,
        "entries": st.lists(st.dictionaries(names, values, max_size=6), max_size=4) | values,
        "state": st.just("online") | scalars,
    },
)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


payloads = st.one_of(st.binary(max_size=300), values.map(_json), near.map(_json))


@settings(max_examples=600, deadline=None)
@given(st.sampled_from([READINGS, LOGBOOK, STATUS]), payloads)
def test_any_payload_is_taken_or_refused_with_a_reason(topic: str, payload: bytes) -> None:
    judged(topic, payload)
    for decode in (decode_receipt, decode_status):
        try:
            decode(payload)
        except MessageError as error:
            assert error.code
            assert error.text


@settings(max_examples=300, deadline=None)
@given(near.map(_json), st.data())
def test_any_damage_of_a_message_is_taken_or_refused(payload: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(payload)))
    to = data.draw(st.integers(at, min(len(payload), at + 8)))
    judged(READINGS, payload[:at] + data.draw(st.binary(max_size=4)) + payload[to:])


@settings(deadline=None)
@given(st.text(st.characters(), max_size=100) | st.from_regex(r"pools/.*/gateways/.*/readings"))
def test_any_topic_is_known_or_refused(topic: str) -> None:
    try:
        parse_topic(topic)
    except MessageError as error:
        assert error.code == "bad_topic"
    judged(topic, b"{}")


WORST_FILES = {
    "deep arrays": "x = " + "[" * 50_000,
    "deep tables": "x = " + "{a=" * 20_000,
    "deep keys": "[" + "a." * 5_000 + "a]",
    "many digits": "schema = " + "9" * 60_000,
    "NUL": "schema = 1\0",
    "BOM": "\ufeffschema = 1",
    "a date that is none": "schema = 2026-99-99",
    "an escape beyond Unicode": 'schema = "\\UFFFFFFFF"',
    "a surrogate's escape": 'schema = "\\uD800"',
    "infinite": "schema = inf",
    "gateways of a number": "schema = 1\ngateways = 1",
    "gateways of a list": "schema = 1\n[[gateways]]\na = 1",
    "no text": "",
}


@pytest.mark.parametrize("name", WORST_FILES)
def test_the_worst_registries_are_refused(name: str) -> None:
    with pytest.raises(ContractError):
        parse_registry(WORST_FILES[name])


@pytest.mark.parametrize("name", sorted(WORST_FILES.keys() - {"no text"}))
def test_the_worst_credentials_are_refused(name: str) -> None:
    with pytest.raises(ContractError, match=r"credentials: .*needs username"):
        parse_credentials(WORST_FILES[name])


@pytest.mark.parametrize(
    ("parse", "text"), [(parse_registry, REGISTRY_TEXT), (parse_credentials, CREDENTIALS_TEXT)]
)
@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_damage_of_a_file_is_read_or_refused(
    parse: Callable[[str], object], text: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(text)))
    to = data.draw(st.integers(at, min(len(text), at + 12)))
    piece = data.draw(
        st.text(st.characters(), max_size=6) | st.sampled_from(["[", "{", "=", '"', "\n[", "inf", "-1"])
    )
    try:
        parse(text[:at] + piece + text[to:])
    except ContractError as error:
        assert str(error)
