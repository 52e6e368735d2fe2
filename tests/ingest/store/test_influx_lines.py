"""Line protocol of ours, read back by InfluxDB itself."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.store.batches import ReadingBatch, batch_of_rows
from ingest.store.influx_address import InfluxAddress
from ingest.store.influx_answers import answer_records
from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_lines import FieldValue, escape_name, field_text, point_line
from ingest.store.influx_questions import records, stored_readings
from ingest.store.influx_reading_lines import SeriesBook, encode_lines, find_lines
from ingest.store.ports import StoreRejectedError
from ingest.store.records import ReadingRow

T0 = 1_800_000_000_000
# Of a tag's value InfluxDB takes no trailing backslash and no line break; our names have neither.
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=12
).filter(lambda name: name.strip() == name)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


def row(
    at_ms: int = T0, value: float | None = 0.5, *, sensor: str = "fc-1", position: int = 0, seq: int = 0
) -> ReadingRow:
    return ReadingRow(
        "p1", sensor, "ph", at_ms, value, "normal" if value else "fault", T0 + 9, "gw-a", "b1", seq, position
    )


def encoded(batch: ReadingBatch) -> list[str]:
    book = SeriesBook(batch.series)
    lines = find_lines(batch, book)
    body, twice = encode_lines(batch, book, lines, np.arange(len(lines.begin)), stored_at_ms=T0 + 20)
    assert twice == []
    return body.decode().split("\n")  # those of equally many readings together, the fewest first


def test_readings_of_one_instant_are_one_line() -> None:
    rows = [row(), row(value=7.25, sensor="ph-1", position=1), row(T0 + 1, value=1e-7, position=2)]
    received = f"received_at={T0 + 9}i,stored_at={T0 + 20}i"
    assert encoded(batch_of_rows(rows)) == [
        f'reading,pool_id=p1 fc-1/ph=1e-7,{received},message="gw-a/b1/0/2" {T0 + 1}',
        f'reading,pool_id=p1 fc-1/ph=0.5,ph-1/ph=7.25,{received},message="gw-a/b1/0/0,1" {T0}',
    ]


def test_positions_are_in_the_order_of_the_fields() -> None:
    rows = [row(sensor="z"), row(sensor="a", position=1), row(sensor="m", position=2)]
    assert '"gw-a/b1/0/1,2,0"' in encoded(batch_of_rows(rows))[0]
    with_a_gap = [rows[0], rows[1]._replace(position=5), rows[2]._replace(position=7)]
    assert '"gw-a/b1/0/5,7,0"' in encoded(batch_of_rows(with_a_gap))[0]


def test_a_null_and_a_signature_are_fields_of_their_own() -> None:
    null, signed = (
        row(value=None),
        row(sensor="manual", position=1)._replace(status="manual", by="李", method='a "b" \\'),
    )
    expected = (
        "reading,pool_id=p1 fc-1/ph/null=1i,fc-1/ph/status=5i,manual/ph=0.5,manual/ph/status=1i,"
        'manual/ph/by="李",manual/ph/method="a \\"b\\" \\\\",'
        f'received_at={T0 + 9}i,stored_at={T0 + 20}i,message="gw-a/b1/0/0,1" {T0}'
    )
    assert encoded(batch_of_rows([null, signed])) == [expected]


@pytest.mark.parametrize("name", ["", "a/b", "a\\", "a\nb"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(StoreRejectedError, match="cannot be a name"):
        escape_name(name)


@pytest.mark.parametrize("value", [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 1e22])
def test_floats_are_written_so_that_they_read_back_the_same(value: float) -> None:
    assert float(field_text(value)) == value


@pytest.mark.integration
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    tag=NAMES,
    field=NAMES,
    text=TEXTS,
    number=st.integers(-(2**63), 2**63 - 1),
    value=st.floats(allow_nan=False, allow_infinity=False),
    at_ns=st.integers(1, 2**60),
)
def test_any_name_and_value_comes_back_from_influxdb(
    influx_address: InfluxAddress, tag: str, field: str, text: str, number: int, value: float, at_ns: int
) -> None:
    connection = InfluxConnection(influx_address)
    key = escape_name(field)
    fields: dict[str, FieldValue] = {f"{key}/text": text, f"{key}/int": number, f"{key}/float": value}
    bucket = influx_address.buckets.facts
    connection.write(bucket, point_line("any", {"pool_id": tag}, fields, at_ns).encode(), precision="ns")
    found = answer_records(
        connection.ask(records(bucket, "any", "pool_id", at_ns, at_ns + 1, [tag])), "pool_id"
    )[tag, at_ns]
    assert (found[f"{field}/text"], int(found[f"{field}/int"])) == (text, number)
    assert float(found[f"{field}/float"]) == value
    connection.close()


@pytest.mark.integration
def test_pools_are_asked_for_by_name_whatever_their_characters(influx_address: InfluxAddress) -> None:
    connection = InfluxConnection(influx_address)
    bucket = influx_address.buckets.facts
    pools = ["p1", "p11", "p.1", "p+(1)", "[p]", "池 1", "p-1"]
    lines = [point_line("reading", {"pool_id": pool}, {"a/b": 1.0}, T0) for pool in pools]
    connection.write(bucket, "\n".join(lines).encode(), precision="ms")
    for pool in pools:
        question = stored_readings(bucket, [pool], T0 * 10**6, T0 * 10**6 + 1)
        assert [key[1] for key in answer_records(connection.ask(question), "_measurement", "pool_id")] == [
            pool
        ]
    many = stored_readings(bucket, [f"x{n}" for n in range(3000)], T0 * 10**6, T0 * 10**6 + 1)
    assert len(answer_records(connection.ask(many), "_measurement", "pool_id")) == len(pools)
    connection.close()
