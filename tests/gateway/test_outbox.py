"""The outbox keeps everything until a receipt names it: a model in ten lines, kills, and room that runs out."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract.receipts import Receipt
from gateway.errors import OutboxError
from gateway.outbox import MOST_PUBACKS, Draft, Outbox, read_account


def draft(text: str = "x", readings: int = 1) -> Draft:
    return Draft("pools/p/gateways/g/readings", lambda seq: f"{text}{seq}".encode(), readings)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 4)),
        st.tuples(
            st.just("receipt"),
            st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=3),
        ),
        st.tuples(st.just("boot"), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_what_is_kept_is_what_was_appended_and_no_receipt_has_named(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    outbox = Outbox(tmp_path_factory.mktemp("outbox") / "outbox.sqlite")
    boots = 0
    outbox.begin_boot("boot-0", 0)
    model: dict[tuple[str, int], bytes] = {}
    appended = 0
    for name, argument in steps:
        boot_id = f"boot-{boots}"
        if name == "append":
            assert isinstance(argument, int)
            for message in outbox.append([draft()] * argument, 5):
                model[message.boot_id, message.seq] = f"x{message.seq}".encode()
                appended += 1
        elif name == "boot":
            boots += 1
            outbox.begin_boot(f"boot-{boots}", 0)
        else:
            assert isinstance(argument, list)
            ranges = [(min(pair), max(pair)) for pair in argument]
            outbox.apply_receipt(Receipt(boot_id, ranges))
            for first, last in ranges:
                for seq in range(first, last + 1):
                    model.pop((boot_id, seq), None)
    kept = {(message.boot_id, message.seq): message.payload for message in outbox.pending(limit=1000)}
    assert kept == model
    account = outbox.account()
    assert account.messages_sent == appended
    assert account.messages_pending == len(model)
    outbox.close()


def test_seq_counts_from_0_without_holes_and_again_in_each_boot(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.begin_boot("a", 0)
    first = outbox.append([draft(), draft()], 1) + outbox.append([draft()], 2)
    outbox.begin_boot("b", 3)
    second = outbox.append([draft()], 4)
    assert [(message.boot_id, message.seq) for message in first + second] == [
        ("a", 0),
        ("a", 1),
        ("a", 2),
        ("b", 0),
    ]
    assert outbox.ranges() == [("a", 0, 3), ("b", 0, 1)]
    outbox.close()


def test_a_boot_id_is_used_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.begin_boot("a", 0)
    with pytest.raises(OutboxError, match="begun before"):
        outbox.begin_boot("a", 1)
    outbox.close()


def test_five_pubacks_without_a_receipt_make_a_dead_letter(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.begin_boot("a", 0)
    (message,) = outbox.append([draft(readings=3)], 1)
    assert [outbox.count_puback(message.message_id) for _ in range(MOST_PUBACKS)] == [False] * (
        MOST_PUBACKS - 1
    ) + [True]
    assert outbox.pending() == []
    assert [letter.payload for letter in outbox.dead_letters()] == [b"x0"]
    account = outbox.account()
    assert (account.messages_dead, account.readings_dead) == (1, 3)
    outbox.close()


def test_room_that_runs_out_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=1000)
    outbox.begin_boot("a", 0)
    for instant in range(30):
        outbox.append([Draft("t", lambda _seq: b"p" * 100, 2)], instant)
    kept = outbox.pending(limit=100)
    dropped = outbox.dropped()
    assert [message.seq for message in kept] == list(range(kept[0].seq, 30))
    assert sum(len(message.payload) for message in kept) <= 1000
    assert sum(span.messages for span in dropped) + len(kept) == 30
    account = outbox.account()
    assert account.readings_sent == account.readings_pending + account.readings_dropped == 60
    assert dropped[0].from_ms == 0
    assert dropped[-1].to_ms == kept[0].created_at_ms - 1
    outbox.close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    with pytest.raises(OutboxError, match="in use by another process"):
        Outbox(tmp_path / "outbox.sqlite")
    outbox.close()
    Outbox(tmp_path / "outbox.sqlite").close()


def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(OutboxError, match="cannot be used as an outbox"):
        Outbox(path)
    assert path.read_bytes().startswith(b"this is no database")


_APPENDER = """
import sys
from pathlib import Path
from gateway.outbox import Draft, Outbox
outbox = Outbox(Path(sys.argv[1]))
outbox.begin_boot(sys.argv[2], 0)
while True:
    (message,) = outbox.append([Draft("t", lambda seq: str(seq).encode(), 1)], 0)
    print(message.seq, flush=True)
"""


def test_what_append_returned_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    for boot in ("a", "b"):
        with subprocess.Popen(
            [sys.executable, "-c", _APPENDER, str(path), boot], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            for _ in range(50):
                child.stdout.readline()
            os.kill(child.pid, signal.SIGKILL)
            said = 49 + len(child.stdout.read().split())
        kept = [message.seq for message in _pending(path) if message.boot_id == boot]
        assert kept[: said + 1] == list(range(said + 1))
        assert len(kept) <= said + 2  # one more may have been committed before it was said
    assert read_account(path).messages_sent == len(_pending(path))


def _pending(path: Path) -> list[object]:  # type: ignore[type-arg]
    outbox = Outbox(path)
    try:
        return outbox.pending(limit=100_000)  # type: ignore[return-value]
    finally:
        outbox.close()
