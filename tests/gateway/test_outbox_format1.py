"""A file of the first format, as it was written then, is opened with all that it holds."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gateway.contract.receipts import Receipt
from gateway.errors import OutboxError
from gateway.outbox import Draft, Outbox, read_account

_FORMAT_1 = """
PRAGMA journal_mode=WAL;
CREATE TABLE boot (
  boot_id TEXT PRIMARY KEY, begun_at_ms INTEGER NOT NULL, next_seq INTEGER NOT NULL DEFAULT 0,
  readings INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE message (
  id INTEGER PRIMARY KEY AUTOINCREMENT, boot_id TEXT NOT NULL, seq INTEGER NOT NULL, topic TEXT NOT NULL,
  payload BLOB NOT NULL, readings INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, pubacks INTEGER NOT NULL DEFAULT 0,
  UNIQUE (boot_id, seq));
CREATE TABLE dead_message (
  id INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, seq INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
  readings INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, in_silence INTEGER NOT NULL, UNIQUE (boot_id, seq));
CREATE TABLE dropped (
  id INTEGER PRIMARY KEY, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, messages INTEGER NOT NULL,
  readings INTEGER NOT NULL);
PRAGMA user_version=1;
"""
#: Later boot ids sort before earlier ones: the order is that of the messages.
_BOOTS = {"z-first": 700, "m-empty": 0, "a-last": 400}


def payload(boot_id: str, seq: int) -> bytes:
    return f"{boot_id} {seq} é".encode("latin-1")


def write_format_1(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_FORMAT_1)
        message_id = 0
        for begun_at_ms, (boot_id, count) in enumerate(_BOOTS.items()):
            connection.execute(
                "INSERT INTO boot VALUES (?, ?, ?, ?)", (boot_id, begun_at_ms, count, 3 * count)
            )
            for seq in range(count):
                message_id += 1
                row = (message_id, boot_id, seq, f"t{seq % 2}", payload(boot_id, seq), 3, 1000 + message_id)
                if seq < 100:
                    continue  # confirmed
                if seq in {150, 151}:
                    connection.execute(
                        "INSERT INTO dead_message VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, seq == 151)
                    )
                else:
                    connection.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, 2)", row)
        connection.execute("INSERT INTO dropped VALUES (1, 5, 6, 7, 8)")
        connection.commit()


def test_an_outbox_of_the_first_format_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    write_format_1(path)
    before = read_account(path)
    assert (before.messages_pending, before.messages_dead, before.readings_dropped) == (896, 4, 8)
    outbox = Outbox(path)
    assert outbox.account() == before == read_account(path)
    expected = [
        (boot_id, seq)
        for boot_id, count in _BOOTS.items()
        for seq in range(100, count)
        if seq not in {150, 151}
    ]
    pending = outbox.pending(limit=10_000)
    assert [(one.boot_id, one.seq) for one in pending] == expected
    assert all(
        one.payload == payload(one.boot_id, one.seq) and one.topic == f"t{one.seq % 2}" for one in pending
    )
    assert [(one.boot_id, one.seq) for one in outbox.dead_letters()] == [
        (boot_id, seq) for boot_id in ("z-first", "a-last") for seq in (150, 151)
    ]
    assert outbox.ranges() == [("z-first", 100, 700), ("a-last", 100, 400)]
    # Two PUBACKs were counted before: three more make a dead letter.
    first = pending[0].message_id
    assert [outbox.count_pubacks({first: False}) for _ in range(3)] == [[], [], [first]]
    assert outbox.revive() == 2
    with pytest.raises(OutboxError, match="begun before"):
        outbox.begin_boot("m-empty", 0)
    outbox.begin_boot("new", 0)
    (message,) = outbox.append([Draft("t0", lambda _seq: b"x", 1)], 5)
    assert (message.boot_id, message.seq) == ("new", 0)
    assert outbox.apply_receipts([Receipt(boot_id, [(0, 1000)]) for boot_id in (*_BOOTS, "new")]) == 901
    outbox.close()


def test_a_migration_that_does_not_end_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outbox.sqlite"
    write_format_1(path)
    before = read_account(path)

    def fails(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("gateway.outbox_format1.insert_group", fails)
        with pytest.raises(OutboxError, match="disk is full"):
            Outbox(path)
    assert read_account(path) == before
    outbox = Outbox(path)
    assert outbox.account() == before
    outbox.close()
