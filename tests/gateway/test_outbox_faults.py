"""The outbox killed at any moment, torn, on a full disk: nothing appended is lost or changed, and no seq is used twice."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.contract.receipts import Receipt
from gateway.errors import OutboxError
from gateway.outbox import Draft, Outbox, OutboxMessage, read_account

_ROUNDS = 30

#: Appends, packs small groups and applies receipts, and says what is done: `+` first and next seq of what was appended,
#: `-` a seq before its receipt is applied, for which it may or may not be gone.
_WRITER = """
import random, sys
from pathlib import Path
import gateway.outbox, gateway.outbox_groups
gateway.outbox.ROWS_KEPT, gateway.outbox.GROUP_SPAN, gateway.outbox_groups.GROUP_SPAN = 40, 16, 16
from gateway.contract.receipts import Receipt
from gateway.outbox import Draft, Outbox
from tests_payload import payload

path, boot_id, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
rng = random.Random(seed)
outbox = Outbox(path)
outbox.begin_boot(boot_id, 0)
known = []
while True:
    count = rng.randint(1, 30)
    messages = outbox.append([Draft("t", lambda seq: payload(boot_id, seq), 1)] * count, 0)
    known += [message.seq for message in messages]
    print("+", messages[0].seq, messages[-1].seq + 1, flush=True)
    if rng.random() < 0.5:
        first = rng.choice(known)
        print("-", first, first + 9, flush=True)
        outbox.apply_receipt(Receipt(boot_id, [(first, first + 9)]))
        known = [seq for seq in known if not first <= seq <= first + 9]
    if rng.random() < 0.2:
        outbox.count_pubacks({message.message_id: True for message in outbox.pending(limit=20)})
"""
_PAYLOAD = """
import hashlib

def payload(boot_id, seq):
    return hashlib.sha256(f"{boot_id} {seq}".encode()).digest() * (1 + seq % 7)
"""


def payload(boot_id: str, seq: int) -> bytes:
    return hashlib.sha256(f"{boot_id} {seq}".encode()).digest() * (1 + seq % 7)


def kept_in(path: Path) -> list[OutboxMessage]:
    outbox = Outbox(path)
    try:
        kept = outbox.pending(limit=1_000_000)
        assert [one.message_id for one in kept] == sorted({one.message_id for one in kept})
        kept += outbox.dead_letters()
        account = outbox.account()
        assert account.messages_pending + account.messages_dead == len(kept)
        return kept
    finally:
        outbox.close()


def test_kills_at_any_moment_lose_and_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    (tmp_path / "tests_payload.py").write_text(_PAYLOAD)
    paths = os.pathsep.join((str(tmp_path), *sys.path))
    rng = random.Random(5)
    expected: dict[str, set[int]] = {}
    maybe: dict[str, set[int]] = {}
    for number in range(_ROUNDS):
        boot_id = f"boot-{number}"
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), boot_id, str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        ) as child:
            assert child.stdout is not None
            said = [child.stdout.readline() for _ in range(rng.randint(1, 25))]
            time.sleep(rng.random() * 0.01)  # where in its work the kill hits is meant to be chance
            os.kill(child.pid, signal.SIGKILL)
            said += child.stdout.read().splitlines(keepends=True)
        appended, confirmed = set[int](), set[int]()
        for line in said:
            if not line.endswith("\n"):
                continue  # cut short by the kill
            sign, first, following = line.split()
            if sign == "+":
                appended |= set(range(int(first), int(following)))
            else:
                confirmed |= set(range(int(first), int(following) + 1)) & appended
        expected[boot_id], maybe[boot_id] = appended - confirmed, confirmed
    account = read_account(path)
    kept = kept_in(path)
    assert all(one.payload == payload(one.boot_id, one.seq) for one in kept)
    packed = sum(one.message_id < max(kept).message_id - 60 for one in kept)
    assert packed > 1000
    for boot_id, seqs in expected.items():
        found = {one.seq for one in kept if one.boot_id == boot_id}
        assert seqs <= found
        # What else is there was under way when the kill came: one receipt's messages, or one commit not yet told of.
        told = seqs | maybe[boot_id]
        assert found - told <= set(range(max(told, default=-1) + 1, account.boots[boot_id]))
        assert account.boots[boot_id] <= max(told, default=-1) + 31


@pytest.mark.parametrize("seed", range(12))
def test_a_torn_end_costs_nothing_that_was_committed(tmp_path: Path, seed: int) -> None:
    """What a power cut leaves: half of a commit, or old bytes, behind the last whole one."""
    rng = random.Random(seed)
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.begin_boot("a", 0)
    count = rng.choice([5, 2600, 9000])
    for first in range(0, count, 100):
        outbox.append([Draft("t", lambda seq: payload("a", seq), 1)] * min(100, count - first), 0)
    log = path.with_name(path.name + "-wal")
    size = log.stat().st_size
    torn = tmp_path / "torn"
    torn.mkdir()
    before = log.read_bytes()
    outbox.append([Draft("t", lambda seq: payload("a", seq), 1)] * 3, 0)
    after = log.read_bytes()
    changed = next(at for at in range(len(after)) if at >= len(before) or after[at] != before[at])
    cut = rng.randrange(changed, len(after) - 1) if len(after) == size or rng.random() < 0.5 else changed
    shutil.copy(path, torn / path.name)
    (torn / log.name).write_bytes(after[:cut] + rng.randbytes(rng.choice([0, 1, 5000])))
    outbox.close()
    again = Outbox(torn / path.name)
    kept = again.pending(limit=100_000)
    assert [one.seq for one in kept][:count] == list(range(count))
    assert all(one.payload == payload("a", one.seq) for one in kept)
    again.begin_boot("b", 0)
    again.append([Draft("t", lambda seq: payload("b", seq), 1)] * 300, 0)
    again.close()
    assert len(kept_in(torn / path.name)) == len(kept) + 300


def test_garbage_behind_the_files_end_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.begin_boot("a", 0)
    outbox.append([Draft("t", lambda seq: payload("a", seq), 1)] * 3000, 0)
    outbox.close()
    with path.open("ab") as file:
        file.write(random.Random(1).randbytes(3333))
    outbox = Outbox(path)
    outbox.begin_boot("b", 0)
    outbox.append([Draft("t", lambda seq: payload("b", seq), 1)] * 300, 0)
    outbox.close()
    kept = kept_in(path)
    assert [one.seq for one in kept if one.boot_id == "a"] == list(range(3000))
    assert all(one.payload == payload(one.boot_id, one.seq) for one in kept)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_takes_receipts_and_works_again(small_disk: Path) -> None:
    path = small_disk / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.begin_boot("a", 0)
    appended = 0
    with pytest.raises(OutboxError, match="Is the disk full"):
        while True:
            appended += len(outbox.append([Draft("t", lambda _seq: os.urandom(2000), 1)] * 50, 0))
    assert appended > 500
    assert outbox.next_seq() == appended
    assert outbox.hours_left(bytes_per_hour=1000) is not None
    assert len(outbox.pending(limit=100_000)) == appended
    for first in range(0, appended, 100):
        outbox.apply_receipt(Receipt("a", [(first, min(first + 99, appended - 1))]))
    assert outbox.pending() == []
    (message,) = outbox.append([Draft("t", lambda _seq: os.urandom(2000), 1)], 0)
    assert message.seq == appended
    outbox.close()
    assert [one.seq for one in kept_in(path)] == [appended]


def test_a_quota_stops_packing_too_and_nothing_is_half_packed(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.begin_boot("a", 0)
    appended = len(outbox.append([Draft("t", lambda seq: payload("a", seq), 1)] * 2200, 0))
    connection = outbox._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 20}")
    refused = 0
    for _ in range(40):
        try:
            appended += len(outbox.append([Draft("t", lambda seq: payload("a", seq), 1)] * 10, 0))
        except OutboxError:
            refused += 1
    assert refused > 0
    kept = outbox.pending(limit=100_000)
    assert [one.seq for one in kept] == list(range(appended))
    assert all(one.payload == payload("a", one.seq) for one in kept)
    connection.execute("PRAGMA max_page_count = 1000000")
    outbox.append([Draft("t", lambda seq: payload("a", seq), 1)] * 500, 0)
    outbox.close()
    assert [one.seq for one in kept_in(path)] == list(range(appended + 500))


def test_dead_letters_stay_when_room_is_made_of_packed_messages(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.sqlite", max_bytes=3_000_000)
    outbox.begin_boot("a", 0)

    def random_bytes(_seq: int) -> bytes:
        return os.urandom(500)

    outbox.append([Draft("t", random_bytes, 1)] * 1000, 0)
    (letter,) = outbox.pending(limit=1)
    for _ in range(5):
        outbox.count_pubacks({letter.message_id: False})
    for instant in range(1, 100):
        outbox.append([Draft("t", random_bytes, 1)] * 100, instant)
    kept = outbox.pending(limit=100_000)
    assert kept[0].seq > 1000  # packed ones were dropped
    assert outbox.fill <= 1
    assert outbox.dead_letters() == [letter]
    account = outbox.account()
    assert account.messages_dropped + account.messages_pending + 1 == account.messages_sent == 10_900
    outbox.close()


def test_thirty_days_shrink_to_a_tenth_and_the_disk_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox(path)
    outbox.begin_boot("a", 0)
    text = (
        '{"schema":1,"gateway_id":"gw-1","boot_id":"a","seq":%d,"readings":[{"sensor_id":"fc-1","quantity":'
        '"free_chlorine_mg_l","measured_at":"2026-07-01T%02d:%02d:%02d.%03dZ","value":0.%03d},{"sensor_id":"ph-1",'
        '"quantity":"ph","measured_at":"2026-07-01T%02d:%02d:%02d.%03dZ","value":7.%02d}]}'
    )
    rng = random.Random(3)

    def encode(seq: int) -> bytes:
        at = (seq // 360 % 24, seq // 6 % 60, seq % 6 * 10)
        return (
            text
            % (
                seq,
                *at,
                rng.randrange(40),
                rng.randrange(450, 550),
                *at,
                rng.randrange(40),
                rng.randrange(30),
            )
        ).encode()

    plain = 0
    for _ in range(300):
        plain += sum(len(one.payload) for one in outbox.append([Draft("t", encode, 2)] * 100, 0))
    outbox.close()
    packed = path.stat().st_size
    assert packed < 0.25 * plain
    outbox = Outbox(path)
    assert len(outbox.pending(limit=100_000)) == 30_000
    outbox.begin_boot("b", 0)
    # Incompressible: the file grows, is emptied, and is made small again when it is opened the next time.
    for _ in range(100):
        outbox.append([Draft("t", lambda _seq: os.urandom(2000), 1)] * 60, 0)
    outbox.apply_receipts([Receipt("a", [(0, 40_000)]), Receipt("b", [(0, 40_000)])])
    outbox.close()
    assert path.stat().st_size > 10_000_000
    Outbox(path).close()
    assert path.stat().st_size < 200_000
