"""The journal against a plain model: any batches, kills, openings, duplicates, clones, failures, steps of checkpoints."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.contract.topics import TopicKind
from ingest.errors import JournalUnavailableError
from ingest.incoming import Incoming
from ingest.journal import checkpoints, state_file
from ingest.journal.account import read_account, read_seq_ranges
from ingest.journal.journal import Journal
from ingest.journal.records import Appended, Outcome
from ingest.journal.verification import verify_journal
from ingest.validation import Assessment, Refusal

_DAY_MS = 86_400_000
_BEGIN_MS = 20_000 * _DAY_MS
#: Gateway, boot, seq, variant of the bytes, refused items of two (None: not even a key).
_letters = st.tuples(
    st.sampled_from(["gw-a", "gw-b"]),
    st.sampled_from(["b1", "b2"]),
    st.integers(0, 12),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([0, 0, 0, 1, None]),
)


class JournalMachine(RuleBasedStateMachine):
    """Each step does the same to a journal and to lists."""

    @initialize()
    def begin(self) -> None:
        # So little in memory that the file is asked all the time.
        self.patches = [
            patch.object(checkpoints, "_SOURCES_IN_MEMORY", 2),
            patch.object(checkpoints, "NEWEST_RANGES", 2),
            patch.object(state_file, "NEWEST_RANGES", 2),
        ]
        for one in self.patches:
            one.start()
        self.root = Path(tempfile.mkdtemp())
        self.folder = self.root / "0"
        self.journal = Journal(self.folder)
        self.kills = 0
        self.now_ms = _BEGIN_MS
        self.kept: list[tuple[str, str, int | None, bytes, Outcome, int]] = []
        self.first: dict[tuple[str, str, int], bytes] = {}
        self.others: set[bytes] = set()
        self.cursor = 0

    @rule(letters=st.lists(_letters, max_size=12), later_h=st.sampled_from([0, 0, 1, 9, -5]))
    def append(self, letters: list[tuple[str, str, int, int, int | None]], later_h: int) -> None:
        self.now_ms += later_h * 3_600_000
        messages, assessments, expected = [], [], []
        for gateway_id, boot_id, seq, variant, refused in letters:
            payload = f"{gateway_id} {boot_id} {seq} {variant} {refused}".encode()
            messages.append(Incoming(f"pools/p/gateways/{gateway_id}/readings", payload, self.now_ms))
            refusals: tuple[Refusal, ...] = ()
            if refused is None:
                refusals = (Refusal(None, "malformed_json", "no JSON"),)
                assessments.append(Assessment(TopicKind.READINGS, gateway_id, None, None, 0, refusals))
                expected.append(self._unkeyed(gateway_id, payload))
                continue
            if refused:
                refusals = (Refusal(1, "unknown_sensor", "not known"),)
            assessments.append(Assessment(TopicKind.READINGS, gateway_id, boot_id, seq, 2, refusals))
            expected.append(self._keyed(gateway_id, boot_id, seq, payload, 2 - refused))
        before = len(self.kept) - sum(one is not Appended.DUPLICATE for one in expected)
        done = self.journal.append_many(messages, assessments)
        assert done.results == expected
        assert (done.first_id, done.last_id) == (before + 1, len(self.kept))

    def _unkeyed(self, gateway_id: str, payload: bytes) -> Appended:
        if payload in self.others:
            return Appended.DUPLICATE
        self.others.add(payload)
        self.kept.append((gateway_id, "", None, payload, Outcome.REFUSED, 0))
        return Appended.REFUSED

    def _keyed(self, gateway_id: str, boot_id: str, seq: int, payload: bytes, good: int) -> Appended:
        key = (gateway_id, boot_id, seq)
        if self.first.setdefault(key, payload) == payload:
            if any(one[:4] == (*key, payload) for one in self.kept):
                return Appended.DUPLICATE
            self.kept.append((*key, payload, Outcome.ACCEPTED, good))
            return Appended.NEW
        if payload in self.others:
            return Appended.DUPLICATE
        self.others.add(payload)
        self.kept.append((*key, payload, Outcome.CLONED, 0))
        return Appended.CLONED

    @rule()
    def kill(self) -> None:
        """What is on the disk at this moment is all that the next process finds."""
        self.kills += 1
        copy = self.root / str(self.kills)
        shutil.copytree(self.folder, copy)
        self.journal.close()
        shutil.rmtree(self.folder)
        self.folder = copy
        self.journal = Journal(copy)

    @rule()
    def end_well(self) -> None:
        self.journal.close()
        self.journal = Journal(self.folder)

    @rule()
    def lose_the_state(self) -> None:
        self.journal.close()
        for path in self.folder.glob("state.sqlite*"):
            path.unlink()
        self.journal = Journal(self.folder)
        self.cursor = 0

    @rule()
    def checkpoint(self) -> None:
        self.journal.checkpoint()

    @rule()
    def begin_a_checkpoint(self) -> None:
        self.journal._writing.begin_checkpoint()

    @rule(most=st.integers(1, 3))
    def collect_for_it(self, most: int) -> None:
        _, unwritten, _ = self.journal._writing.begin_checkpoint()
        unwritten.collect_some(most)

    @rule()
    def write_it(self) -> None:
        state, unwritten, _ = self.journal._writing.begin_checkpoint()
        self.journal._writing.checkpoints.write(state, unwritten)

    @rule(letter=_letters)
    def fail_to_append(self, letter: tuple[str, str, int, int, int | None]) -> None:
        gateway_id, boot_id, seq, variant, _ = letter
        payload = f"{gateway_id} {boot_id} {seq} {variant} fails".encode()
        message = Incoming(f"pools/p/gateways/{gateway_id}/readings", payload, self.now_ms)
        assessment = Assessment(TopicKind.READINGS, gateway_id, boot_id, seq, 2, ())
        with (
            patch.object(self.journal._writing, "_commit", side_effect=JournalUnavailableError("full")),
            pytest.raises(JournalUnavailableError),
        ):
            self.journal.append_many([message], [assessment])

    @rule()
    def compress(self) -> None:
        self.journal.maintain(self.now_ms)

    @precondition(lambda self: self.cursor < len(self.kept))
    @rule(share=st.floats(0, 1))
    def advance(self, share: float) -> None:
        self.cursor += max(1, int(share * (len(self.kept) - self.cursor)))
        self.journal.advance(self.cursor)

    @invariant()
    def says_the_same(self) -> None:
        if not hasattr(self, "journal"):
            return
        kept = [
            (one.gateway_id, one.boot_id or "", one.seq, one.payload, one.outcome)
            for one in self.journal.read_after(0, limit=10_000)
        ]
        assert kept == [one[:5] for one in self.kept]
        assert self.journal.cursor() == self.cursor
        account = read_account(self.folder)
        assert (account.messages, account.cursor) == (len(self.kept), self.cursor)
        accepted = [one for one in self.kept if one[4] is Outcome.ACCEPTED]
        total = account.total
        assert total.readings == 2 * len(accepted)
        assert total.quarantined_readings == sum(2 - one[5] for one in accepted)
        assert total.cloned_messages == sum(one[4] is Outcome.CLONED for one in self.kept)
        ahead = [one for one in self.kept[self.cursor :] if one[4] is Outcome.ACCEPTED]
        assert total.in_flight_messages == len(ahead)
        assert total.in_flight_readings == sum(one[5] for one in ahead)
        messages = Counter((one[0], one[1]) for one in self.kept if one[4] is not Outcome.CLONED)
        lines: Counter[tuple[str, str]] = Counter()
        for line in account.lines:
            lines[line.gateway_id, line.boot_id] += line.tally.messages
        assert +lines == messages
        ranges = {
            key: [seq for first, last in found for seq in range(first, last + 1)]
            for key, found in read_seq_ranges(self.folder).items()
        }
        seqs: dict[tuple[str, str], list[int]] = {}
        for gateway_id, boot_id, seq in sorted(self.first):
            seqs.setdefault((gateway_id, boot_id), []).append(seq)
        assert ranges == seqs
        verified = verify_journal(self.folder)
        assert (verified.broken_at, verified.messages) == (None, len(self.kept)), verified.reason

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.root)
            for one in self.patches:
                one.stop()


TestJournalModel: Callable[..., Any] = JournalMachine.TestCase
TestJournalModel.settings = settings(  # type: ignore[attr-defined]
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
