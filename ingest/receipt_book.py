"""Which receipts are due: at most one for each gateway and second, with the seqs as ranges. Pure."""

from collections.abc import Iterable, Sequence

from gateway.contract.receipts import INTERVAL_S, Receipt

#: The contract's most ranges of one receipt.
_MAX_RANGES = 1000


def merge_ranges(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted union of ranges of whole numbers, ends included; neighbours become one."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


class ReceiptBook:
    """Seqs that are in the journal and not yet receipted, by gateway and boot. Times: a monotonic clock's seconds."""

    def __init__(self) -> None:
        self._pending: dict[str, dict[str, list[tuple[int, int]]]] = {}
        self._last_s: dict[str, float] = {}

    def __len__(self) -> int:
        """Gateways that are owed a receipt."""
        return len(self._pending)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for a receipt."""
        return not self._pending

    def add(self, messages: Iterable[tuple[str, str, int]]) -> None:
        """Note messages that the journal holds, each as (gateway, boot, seq)."""
        pending = self._pending
        for gateway_id, boot_id, seq in messages:
            boots = pending.get(gateway_id)
            ranges = None if boots is None else boots.get(boot_id)
            if ranges is None:
                pending.setdefault(gateway_id, {})[boot_id] = [(seq, seq)]
                continue
            first, last = ranges[-1]
            if last + 1 == seq:
                ranges[-1] = (first, seq)
            else:
                ranges.append((seq, seq))

    def due(self, now_s: float) -> list[tuple[str, Receipt]]:
        """Receipts that may go out now, one for each gateway that may have one; the oldest boot first."""
        receipts = []
        for gateway_id, boots in self._pending.items():
            if now_s - self._last_s.get(gateway_id, -INTERVAL_S) >= INTERVAL_S:
                boot_id, ranges = next(iter(boots.items()))
                receipts.append((gateway_id, Receipt(boot_id, merge_ranges(ranges)[:_MAX_RANGES])))
        return receipts

    def sent(self, gateway_id: str, receipt: Receipt, now_s: float) -> None:
        """Note that a receipt which was due has gone out."""
        self._last_s[gateway_id] = now_s
        boots = self._pending[gateway_id]
        rest = merge_ranges(boots.pop(receipt.boot_id))[len(receipt.stored) :]
        if rest:
            boots[receipt.boot_id] = rest
        if not boots:
            del self._pending[gateway_id]
