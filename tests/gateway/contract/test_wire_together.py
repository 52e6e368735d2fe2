"""Many payloads decoded as one array give what each gives by itself, whatever they are made of."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.wire import decode_usual, decode_usual_together


def payload(seq: int, *, gateway: str = "gw-a", value: str = "0.5") -> bytes:
    reading = (
        f'{{"sensor_id":"fc-1","quantity":"ph","measured_at":"2026-07-01T08:00:00.000Z","value":{value}}}'
    )
    return (
        f'{{"schema":1,"gateway_id":"{gateway}","boot_id":"b1","seq":{seq},"readings":[{reading}]}}'.encode()
    )


# Pieces at which a payload could be cut so that it and its neighbours together make messages that none of them is.
PIECES = [
    *re.split(rb"(?<=[,{\[])|(?=[}\]])", payload(1)),
    *(b"null", b",", b",null,", b",\nnull,", b"\n", b"0", b" ", b"]", b"["),
]
PAYLOADS = st.one_of(
    st.builds(payload, st.integers(0, 9)),
    st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join),
    st.lists(st.builds(payload, st.integers(0, 9)), min_size=2, max_size=2).map(b",\nnull,".join),
    st.lists(st.builds(payload, st.integers(0, 9)), min_size=2, max_size=2).map(b",".join),
    st.tuples(st.integers(0, len(payload(1))), st.booleans()).map(
        lambda cut: payload(1)[: cut[0]] if cut[1] else payload(1)[cut[0] :]
    ),
)


def test_messages_come_in_order_with_their_quotation_marks() -> None:
    payloads = [payload(seq) for seq in range(50)]
    together = decode_usual_together(payloads)
    assert together is not None
    assert together.messages == [decode_usual(one) for one in payloads]
    assert together.marks == sum(one.count(b'"') for one in payloads)


@given(st.lists(PAYLOADS, min_size=1, max_size=4))
def test_together_is_as_each_by_itself_or_nothing(payloads: list[bytes]) -> None:
    together = decode_usual_together(payloads)
    alone = [decode_usual(one) for one in payloads]
    assert together is None or together.messages == alone
    assert together is not None or None in alone


@pytest.mark.parametrize("cut", range(1, len(payload(1))))
def test_no_cut_makes_one_message_of_two_payloads(cut: int) -> None:
    whole = payload(1)
    # A neighbour that carries two messages would make up for the number.
    for payloads in (
        [whole[:cut], whole[cut:]],
        [whole[:cut], whole[cut:], whole + b",\nnull," + whole],
        [whole + b",\nnull," + whole, whole[:cut], whole[cut:]],
        [whole + b"," + whole[:cut], whole[cut:]],
    ):
        assert decode_usual_together(payloads) is None


def test_a_payload_of_nothing_is_no_message() -> None:
    assert decode_usual_together([]) is None
    for empty in (b"", b" ", b"null", b"null,null"):
        for payloads in ([empty], [payload(1), empty], [empty, payload(1)]):
            assert decode_usual_together(payloads) is None


def test_one_that_is_too_large_or_has_an_escape_is_left_to_the_other_way() -> None:
    for odd in (payload(1, value="0.5" + " " * 300_000), payload(1, gateway=r"gw\u002da")):
        assert decode_usual(odd) is None
        for pair in pairwise([payload(0), odd, payload(2)]):
            assert decode_usual_together(pair) is None
