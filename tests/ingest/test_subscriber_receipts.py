import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.subscriber_peeler import Peeler
from ingest.subscriber_receipts import MAX_UNCONFIRMED, ReceiptWindow, acknowledgements

TOPIC = "gateways/gw-a/stored"
FIRST_ID, LAST_ID = 1001, 65_535


def _read(packets: bytes, *, with_properties: bool = True) -> list[tuple[int, str, bytes]]:
    peeler = Peeler(with_properties=with_properties, connection=0)
    peeler.feed(packets, received_at_ms=0)
    assert not peeler.control
    return [(one.packet_id, one.topic, one.payload) for one in peeler.messages]


def _add(window: ReceiptWindow, payload: bytes = b"{}", *, at_most: int = 65_535) -> int | None:
    packet = window.add(TOPIC, payload, with_properties=True, at_most=at_most)
    return None if packet is None else _read(packet)[0][0]


@pytest.mark.parametrize("with_properties", [True, False])
@pytest.mark.parametrize("size", [0, 90, 100, 200, 20_000, 70_000])
def test_a_receipt_is_a_publication_of_qos_1(size: int, *, with_properties: bool) -> None:
    packet = ReceiptWindow().add(
        "gateways/北/stored", b"x" * size, with_properties=with_properties, at_most=1
    )
    assert packet is not None
    assert packet[0] == 0x32
    assert _read(packet, with_properties=with_properties) == [(FIRST_ID, "gateways/北/stored", b"x" * size)]


def test_no_more_are_unconfirmed_than_the_broker_takes() -> None:
    window = ReceiptWindow()
    assert [_add(window, at_most=2) for _ in range(3)] == [FIRST_ID, FIRST_ID + 1, None]
    assert len(window) == 2
    assert window.confirm(FIRST_ID) == TOPIC
    assert _add(window, at_most=2) == FIRST_ID + 2


def test_no_more_are_unconfirmed_than_a_fixed_number() -> None:
    window = ReceiptWindow()
    for _ in range(MAX_UNCONFIRMED):
        assert _add(window) is not None
    assert _add(window) is None
    assert len(window) == MAX_UNCONFIRMED


def test_ids_wrap_and_pass_over_what_is_unconfirmed() -> None:
    window = ReceiptWindow()
    ids = []
    for number in range(LAST_ID - FIRST_ID + 1):
        packet_id = _add(window)
        assert packet_id is not None
        ids.append(packet_id)
        if number not in {0, 1}:
            window.confirm(packet_id)
    assert ids == list(range(FIRST_ID, LAST_ID + 1))
    assert _add(window) == FIRST_ID + 2
    assert len(window) == 3


def test_what_was_never_sent_or_is_confirmed_twice_is_nobodys() -> None:
    window = ReceiptWindow()
    packet_id = _add(window)
    assert packet_id is not None
    assert window.confirm(1) is None
    assert window.confirm(packet_id) == TOPIC
    assert window.confirm(packet_id) is None


def test_a_new_connection_gets_what_is_unconfirmed_again_marked_as_such() -> None:
    window = ReceiptWindow()
    for number in range(4):
        _add(window, str(number).encode())
    window.confirm(FIRST_ID + 1)
    again = window.again(with_properties=False, at_most=10)
    assert again[0] == 0x3A
    assert _read(again, with_properties=False) == [
        (FIRST_ID + number, TOPIC, str(number).encode()) for number in (0, 2, 3)
    ]
    assert window.again(with_properties=False, at_most=10) == again


def test_a_new_connection_that_takes_fewer_gets_the_newest() -> None:
    window = ReceiptWindow()
    for number in range(5):
        _add(window, str(number).encode())
    assert [one[2] for one in _read(window.again(with_properties=True, at_most=2))] == [b"3", b"4"]
    assert len(window) == 2
    assert window.confirm(FIRST_ID) is None
    assert window.again(with_properties=True, at_most=0) == b""
    assert len(window) == 0


def test_nothing_unconfirmed_is_nothing_to_send() -> None:
    assert ReceiptWindow().again(with_properties=True, at_most=5) == b""


@given(st.lists(st.integers(1, 65_535), max_size=50))
def test_acknowledgements_name_each_message(packet_ids: list[int]) -> None:
    expected = b"".join(struct.pack(">BBH", 0x40, 2, one) for one in packet_ids)
    assert acknowledgements(packet_ids) == expected
