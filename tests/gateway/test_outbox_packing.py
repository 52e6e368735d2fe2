"""Packing loses no byte; boots and ids; MQTT packets in any pieces: each against a loop or an independent reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outbox_boots import Boots
from gateway.outbox_packing import (
    GONE,
    Member,
    first_and_last_pending,
    left_of,
    pack,
    readings_as_bytes,
    unpack,
)
from gateway.publisher_wire import Acknowledgements, WireError, publish_head, publish_packet

members = st.lists(
    st.tuples(st.text(max_size=5), st.binary(max_size=40), st.integers(-(2**40), 2**40)),
    min_size=1,
    max_size=30,
).map(lambda rows: [Member(3 * place, *row) for place, row in enumerate(rows)])


@given(members)
def test_a_group_gives_back_its_members_byte_for_byte(packed: list[Member]) -> None:
    assert unpack(pack(packed)) == packed


@given(members, st.data())
def test_a_damaged_group_is_no_other_group(packed: list[Member], data: st.DataObject) -> None:
    body = bytearray(pack(packed))
    body[data.draw(st.integers(0, len(body) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = unpack(bytes(body))
    except ValueError:
        return
    assert found == packed  # a bit that means nothing to zlib


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 4, 5, 6, GONE]), st.integers(0, 500)), max_size=20), st.data()
)
def test_what_is_left_of_a_group(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    states = bytes(state for state, _ in rows)
    left = left_of(states, readings_as_bytes([count for _, count in rows]))
    assert left.pending == sum(state < 5 for state, _ in rows)
    assert left.readings_pending == sum(count for state, count in rows if state < 5)
    assert left.dead == sum(state in {5, 6} for state, _ in rows)
    assert left.readings_dead == sum(count for state, count in rows if state in {5, 6})
    assert left.silent == sum(state == 6 for state, _ in rows)
    begin, end = sorted((data.draw(st.integers(0, 20)), data.draw(st.integers(0, 20))))
    places = [place for place, (state, _) in enumerate(rows) if state < 5 and begin <= place < end]
    assert first_and_last_pending(states, begin, end) == ((places[0], places[-1]) if places else None)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5),
)
def test_ids_and_seqs_of_boots(sizes: list[int], pairs: list[tuple[int, int]]) -> None:
    rows, id_of = [], {}
    next_id = 1
    for number, size in enumerate(sizes):
        rows.append((f"b{number}", next_id, size))
        id_of.update({(f"b{number}", seq): next_id + seq for seq in range(size)})
        next_id += size
    boots = Boots(reversed(rows))
    ranges = [(min(pair), max(pair)) for pair in pairs]
    for boot_id, _, _ in rows:
        named = {seq for first, last in ranges for seq in range(first, last + 1)}
        spans = boots.ids(boot_id, ranges, next_seq=None)
        found = [one for first, last in spans for one in range(first, last + 1)]
        assert found == sorted(id_of[boot_id, seq] for seq in named if (boot_id, seq) in id_of)
    for (boot_id, seq), message_id in id_of.items():
        assert boots.of_id(message_id) == (boot_id, seq)
    whole = boots.ranges(boots.cut(1, next_id - 1)) if id_of else []
    assert whole == [(boot_id, 0, size) for boot_id, _, size in rows if size]
    assert boots.ids("unknown", [(0, 9)], next_seq=None) == []


PUBACK = st.integers(1, 65_535).map(lambda number: b"\x40\x02" + number.to_bytes(2, "big"))
OTHER = st.one_of(
    st.just(b"\xd0\x00"),
    st.tuples(st.text(max_size=5), st.integers(1, 65_535), st.binary(max_size=300)).map(
        lambda parts: publish_packet(publish_head(parts[0]), parts[1], parts[2])
    ),
)


@given(st.lists(st.one_of(PUBACK, OTHER), max_size=20), st.integers(1, 50), st.integers(1, 65_535))
def test_pubacks_are_taken_out_whatever_the_pieces(packets: list[bytes], piece: int, first: int) -> None:
    reader = Acknowledgements(first)
    passed, taken = b"", []
    stream = b"".join(packets)
    for begin in range(0, len(stream), piece):
        more, ids = reader.take(stream[begin : begin + piece])
        passed += more
        taken += ids
    own = [one for one in packets if one[0] == 0x40 and int.from_bytes(one[2:], "big") >= first]
    assert taken == [int.from_bytes(one[2:], "big") for one in own]
    assert passed == b"".join(one for one in packets if one not in own)


def test_a_publish_packet_as_the_standard_shows_it() -> None:
    # MQTT 3.1.1, 3.3: topic "a/b", packet id 10, QoS 1; and 2.2.3: 321 is written 0xC1 0x02.
    assert publish_packet(publish_head("a/b"), 10, b"") == b"\x32\x07\x00\x03a/b\x00\x0a"
    assert publish_packet(publish_head("a/b"), 10, b"p" * 314)[1:3] == b"\xc1\x02"


def test_a_length_of_five_bytes_is_refused() -> None:
    with pytest.raises(WireError, match="four bytes"):
        Acknowledgements(1).take(b"\x30\xff\xff\xff\xff\x01")
