"""The index from (gateway, boot, seq) to a message's id, as runs of neighbours. Pure.

A run is `count` messages of one source whose seqs and ids both go up by one. Runs of a source are packed into one row
(first seq, last seq, the rest as msgpack), so that a thousand messages of a thousand gateways cost a few bytes each.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[int])


class RunRow(NamedTuple):
    """Runs of one source: `packed` holds seq, id and count of each, seqs and ids as differences to the smallest."""

    source: int
    first_seq: int
    last_seq: int
    first_id: int
    packed: bytes


class Placed(NamedTuple):
    """Messages and their ids, as columns of equal length (int64)."""

    sources: NDArray[np.int64]
    seqs: NDArray[np.int64]
    ids: NDArray[np.int64]


def source_number(gateway_id: str, boot_id: str) -> int:
    """64 bits that stand for a (gateway, boot) in the index; who finds a message by it compares the names too."""
    digest = hashlib.sha256(f"{gateway_id}\0{boot_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def rows_of(placed: Sequence[Placed]) -> list[RunRow]:
    """Index rows of messages, by source; one row for each source."""
    sources = np.concatenate([one.sources for one in placed])
    seqs = np.concatenate([one.seqs for one in placed])
    ids = np.concatenate([one.ids for one in placed])
    if not len(ids):
        return []
    order = np.lexsort((ids, seqs, sources))
    sources, seqs, ids = sources[order], seqs[order], ids[order]
    new_source = np.ones(len(ids), dtype=bool)
    new_source[1:] = sources[1:] != sources[:-1]
    new_run = new_source.copy()
    new_run[1:] |= (seqs[1:] != seqs[:-1] + 1) | (ids[1:] != ids[:-1] + 1)
    starts = np.flatnonzero(new_run)
    counts = np.diff(np.append(starts, len(ids)))
    first_run = np.searchsorted(starts, np.flatnonzero(new_source)).tolist()
    run_source, run_seq, run_id, run_count = (
        sources[starts].tolist(),
        seqs[starts].tolist(),
        ids[starts].tolist(),
        counts.tolist(),
    )
    rows = []
    for begin, end in zip(first_run, [*first_run[1:], len(run_seq)], strict=True):
        low_seq = run_seq[begin]
        low_id = min(run_id[begin:end])
        flat: list[int] = []
        for at in range(begin, end):
            flat += (run_seq[at] - low_seq, run_id[at] - low_id, run_count[at])
        rows.append(
            RunRow(
                run_source[begin],
                low_seq,
                run_seq[end - 1] + run_count[end - 1] - 1,
                low_id,
                _ENCODER.encode(flat),
            )
        )
    return rows


def ids_in(row: RunRow, seq: int) -> list[int]:
    """Ids that a row has for a seq; more than one only if sources share a number."""
    flat = _DECODER.decode(row.packed)
    return [
        row.first_id + flat[at + 1] + seq - first
        for at in range(0, len(flat), 3)
        if (first := row.first_seq + flat[at]) <= seq < first + flat[at + 2]
    ]


def placed_of(rows: Sequence[RunRow]) -> Placed:
    """Messages of index rows; the opposite of `rows_of`."""
    sources, seqs, ids = [], [], []
    for row in rows:
        flat = np.array(_DECODER.decode(row.packed), dtype=np.int64).reshape(-1, 3)
        counts = flat[:, 2]
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        seqs.append(row.first_seq + np.repeat(flat[:, 0], counts) + steps)
        ids.append(row.first_id + np.repeat(flat[:, 1], counts) + steps)
        sources.append(np.full(len(steps), row.source, dtype=np.int64))
    return Placed(np.concatenate(sources), np.concatenate(seqs), np.concatenate(ids))
