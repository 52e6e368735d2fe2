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
from gateway.outbox import MOST_PUBACKS, Draft, Outbox, OutboxMessage, read_account


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
        st.tuples(st.just("puback"), st.lists(st.integers(0, 30), min_size=1, max_size=8)),
        st.tuples(st.just("silence"), st.lists(st.integers(0, 30), min_size=1, max_size=8)),
        st.tuples(st.just("revive"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=40,
)


@pytest.fixture(params=[256, 3], ids=["rows", "groups of three"])
def group_span(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """With small groups the same steps meet packed messages, in part and across boots."""
    span: int = request.param
    if span == 3:
        monkeypatch.setattr("gateway.outbox.ROWS_KEPT", 2)
        monkeypatch.setattr("gateway.outbox.GROUP_SPAN", span)
        monkeypatch.setattr("gateway.outbox_groups.GROUP_SPAN", span)
    return span


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_what_is_kept_is_what_was_appended_and_no_receipt_has_named(
    tmp_path_factory: pytest.TempPathFactory, group_span: int, steps: list[tuple[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("outbox") / "outbox.sqlite"
    outbox = Outbox(path)
    boots = 0
    outbox.begin_boot("boot-0", 0)
    # (boot, seq) -> [message id, PUBACKs, dead: None, or whether in silence]
    model: dict[tuple[str, int], list[int | None]] = {}
    appended: dict[str, int] = {"boot-0": 0}
    for name, argument in steps:
        boot_id = f"boot-{boots}"
        match name, argument:
            case "append", int(count):
                for message in outbox.append([draft()] * count, 5):
                    assert (message.boot_id, message.seq) == (boot_id, appended[boot_id])
                    model[message.boot_id, message.seq] = [message.message_id, 0, None]
                    appended[boot_id] += 1
            case "boot" | "reopen", _:
                if name == "reopen":
                    outbox.close()
                    outbox = Outbox(path)
                boots += 1
                outbox.begin_boot(f"boot-{boots}", 0)
                appended[f"boot-{boots}"] = 0
            case "receipt", list(pairs):
                ranges = [(min(pair), max(pair)) for pair in pairs]
                outbox.apply_receipt(Receipt(boot_id, ranges))
                for first, last in ranges:
                    for seq in range(first, last + 1):
                        model.pop((boot_id, seq), None)
            case "puback" | "silence", list(seqs):
                taken = [model[boot_id, seq] for seq in set(seqs) if (boot_id, seq) in model]
                died = outbox.count_pubacks({one[0] or 0: name == "silence" for one in taken})
                for one in taken:
                    if one[2] is None:
                        one[1] = (one[1] or 0) + 1
                        if one[1] == MOST_PUBACKS:
                            one[2] = int(name == "silence")
                            assert one[0] in died
            case _:
                revived = outbox.revive()
                assert revived == sum(one[2] == 1 for one in model.values())
                for one in model.values():
                    if one[2] == 1:
                        one[1:] = [0, None]
    pending = [(message.boot_id, message.seq) for message in outbox.pending(limit=1000)]
    assert pending == [key for key, one in model.items() if one[2] is None]
    dead = [(message.boot_id, message.seq) for message in outbox.dead_letters()]
    assert dead == [key for key, one in model.items() if one[2] is not None]
    assert all(message.payload == f"x{message.seq}".encode() for message in outbox.pending(limit=1000))
    for after in range(0, sum(appended.values()) + 1, 4):
        later = [key for key, one in model.items() if one[2] is None and (one[0] or 0) > after]
        assert [(one.boot_id, one.seq) for one in outbox.pending(after_id=after, limit=5)] == later[:5]
    assert [(one.boot_id, one.seq) for one in outbox.newest()] == pending[-1:]
    kept = {boot: [seq for name, seq in pending if name == boot] for boot, _ in pending}
    assert outbox.ranges() == [(boot, seqs[0], seqs[-1] + 1) for boot, seqs in kept.items()]
    assert all(outbox.holds(one[0] or 0) for one in model.values())
    account = outbox.account()
    assert account.boots == appended
    assert account.messages_sent == sum(appended.values())
    assert account.readings_pending == len(pending)
    assert (account.messages_pending, account.messages_dead) == (len(pending), len(dead))
    assert account == read_account(path)
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
    counted = [outbox.count_pubacks({message.message_id: False}) for _ in range(MOST_PUBACKS)]
    assert counted == [[]] * (MOST_PUBACKS - 1) + [[message.message_id]]
    assert outbox.pending() == []
    assert [letter.payload for letter in outbox.dead_letters()] == [b"x0"]
    account = outbox.account()
    assert (account.messages_dead, account.readings_dead) == (1, 3)
    assert outbox.revive() == 0
    assert outbox.holds(message.message_id)
    assert outbox.apply_receipt(Receipt("a", [(0, 0)])) == 1
    assert not outbox.holds(message.message_id)
    outbox.close()


def test_receipts_unite_and_take_exactly_what_they_name(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    for boot in ("a", "b"):
        outbox.begin_boot(boot, 0)
        outbox.append([draft()] * 10, 1)
    assert outbox.apply_receipts([Receipt("a", [(0, 2), (5, 5)]), Receipt("a", [(2, 3), (99, 100)])]) == 5
    assert outbox.apply_receipts([Receipt("c", [(0, 9)])]) == 0
    kept = [message.seq for message in outbox.pending(limit=100) if message.boot_id == "a"]
    assert kept == [4, 6, 7, 8, 9]
    assert sum(message.boot_id == "b" for message in outbox.pending(limit=100)) == 10
    assert outbox.ranges() == [("a", 4, 10), ("b", 0, 10)]
    outbox.close()


def test_the_newest_of_each_topic(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.begin_boot("a", 0)
    outbox.append([Draft(topic, lambda _seq: b"", 1) for topic in ("p", "q", "p", "q", "p")], 1)
    assert [(message.topic, message.seq) for message in outbox.newest()] == [("q", 3), ("p", 4)]
    outbox.close()


def test_hours_left_follow_the_room_and_the_rate(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=1_000_000)
    outbox.begin_boot("a", 0)
    outbox.append([Draft("t", lambda _seq: b"p" * 250, 1)], 1)
    assert outbox.hours_left(bytes_per_hour=0) is None
    taken = (tmp_path / "outbox.sqlite").stat().st_size
    # Too few to know how they pack: they count as they are. The file is still in its log; its pages say what it takes.
    left = outbox.hours_left(bytes_per_hour=50)
    assert left is not None
    assert abs(left - (1_000_000 - outbox.fill * 1_000_000) / 50) < 1e-6
    assert outbox.fill * 1_000_000 >= taken
    half = outbox.hours_left(bytes_per_hour=100)
    assert half == left / 2
    outbox.close()


def test_hours_left_reckon_with_packed_messages(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=10_000_000)
    outbox.begin_boot("a", 0)
    encode = (b'{"seq":%d,"' + b"x" * 380 + b'"}').__mod__
    outbox.append([Draft("t", encode, 3)] * 200, 1)
    tried = outbox.hours_left(bytes_per_hour=100_000)
    for _ in range(50):
        outbox.append([Draft("t", encode, 3)] * 200, 1)
    packed = outbox.hours_left(bytes_per_hour=100_000)
    outbox.close()
    assert tried is not None
    assert packed is not None
    # Plain, 10 MB would last for 100 h; alike as these messages are, a tenth of that rate is more than enough.
    assert packed > 900
    assert tried > 500


def test_room_that_runs_out_drops_the_oldest_and_says_so(tmp_path: Path) -> None:
    room = 200_000
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=room)
    outbox.begin_boot("a", 0)
    for instant in range(60):
        outbox.append([Draft("t", lambda _seq: os.urandom(5000), 2)] * 2, instant)
    kept = outbox.pending(limit=1000)
    dropped = outbox.dropped()
    assert [message.seq for message in kept] == list(range(kept[0].seq, 120))
    assert outbox.fill <= 1
    assert 20 <= len(kept) < 40
    assert sum(span.messages for span in dropped) + len(kept) == 120
    account = outbox.account()
    assert account.readings_sent == account.readings_pending + account.readings_dropped == 240
    assert dropped[0].from_ms == 0
    assert dropped[-1].to_ms in {kept[0].created_at_ms - 1, kept[0].created_at_ms}
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


def test_a_folder_that_cannot_be_written_and_a_later_format_are_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutboxError, match="cannot hold an outbox"):
        Outbox(tmp_path / "file" / "outbox.sqlite")
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox._connection.execute("PRAGMA user_version = 99")
    outbox.close()
    with pytest.raises(OutboxError, match="later version"):
        Outbox(tmp_path / "outbox.sqlite")
    with pytest.raises(OutboxError, match="no outbox at"):
        read_account(tmp_path / "absent.sqlite")


def test_an_append_that_fails_leaves_no_hole_and_a_full_disk_is_named(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite")
    outbox.begin_boot("a", 0)
    with pytest.raises(ZeroDivisionError):
        outbox.append([draft(), Draft("t", lambda _seq: b"" * (1 // 0), 1)], 1)
    assert outbox.next_seq() == 0
    (pages,) = outbox._connection.execute("PRAGMA page_count").fetchone()
    outbox._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutboxError, match="Is the disk full"):
        outbox.append([Draft("t", lambda _seq: b"p" * 100_000, 1)], 1)
    outbox._connection.execute("PRAGMA max_page_count = 100000")
    assert [message.seq for message in outbox.append([draft()], 2)] == [0]
    assert outbox.account().messages_sent == 1
    outbox.close()


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


def _pending(path: Path) -> list[OutboxMessage]:
    outbox = Outbox(path)
    try:
        return outbox.pending(limit=100_000)
    finally:
        outbox.close()
