"""Release from quarantine: messages are assessed again by the registry in force, and what is good now is asked for."""

from dataclasses import dataclass, replace
from pathlib import Path

from gateway.contract.registry import Registry
from ingest.errors import JournalError
from ingest.journal.connections import translated_errors
from ingest.journal.excerpts import WHOLE
from ingest.journal.quarantine import QuarantineEntry, select_entries
from ingest.journal.records import JournalMessage
from ingest.journal.releases import Request, append_requests, read_requests
from ingest.journal.view import open_view
from ingest.validation import Assessment, assess

#: Reasons that no registry can cure: the message's key is taken, or the store said no.
_ONLY_BY_FORCE = ("cloned", "conflict", "store_rejected")


@dataclass(frozen=True, slots=True)
class ReleaseReport:
    """What is released, and what stays, with the reason that it stays for."""

    released: tuple[QuarantineEntry, ...]
    kept: tuple[QuarantineEntry, ...]


def release(
    folder: Path,
    *,
    registry: Registry,
    registry_sha256: str,
    who: str,
    now_ms: int,
    reason: str = "",
    force: bool = False,
    message_id: int | None = None,
    gateway_id: str | None = None,
    code: str | None = None,
    pool_id: str | None = None,
) -> ReleaseReport:
    """Assess quarantined messages again by the registry in force, and hand to ingest what is good now.

    Ingest writes it into the store while it runs, or when it starts; until then it counts as quarantined. Clones, conflicts
    and what the store rejected are released only by `force` with a reason. What stays says why.

    Raises
    ------
    JournalError
        If there is no journal in the folder, `force` comes without a reason, or the request cannot be written.
    """
    if force and not reason.strip():
        raise JournalError("a release by force needs a reason: it stays on record")
    requests: list[Request] = []
    released: list[QuarantineEntry] = []
    kept: list[QuarantineEntry] = []
    with open_view(folder) as view:
        under_way = {
            (one.message_id, position)
            for one in read_requests(folder, after=view.marks.release)
            for position in (*one.positions, WHOLE)
        }
        by_message: dict[int, list[QuarantineEntry]] = {}
        for entry in select_entries(
            view, None, gateway_id=gateway_id, code=code, pool_id=pool_id, message_id=message_id
        ):
            at = WHOLE if entry.position is None else entry.position
            if (entry.message_id, at) not in under_way:
                by_message.setdefault(entry.message_id, []).append(entry)
        for one_id, entries in sorted(by_message.items()):
            message = view.days.message(one_id)
            if message is None:
                kept += [
                    replace(entry, text="its day was removed: nothing is left to release")
                    for entry in entries
                ]
                continue
            good, bad, request = _assess_again(message, entries, registry, force=force)
            released += good
            kept += bad
            if request is not None:
                requests.append(
                    replace(
                        request,
                        who=who,
                        at_ms=now_ms,
                        registry_sha256=registry_sha256,
                        reason=reason,
                        forced=force,
                    )
                )
    if requests:
        with translated_errors(folder):
            append_requests(folder, requests)
    return ReleaseReport(tuple(released), tuple(kept))


def _assess_again(
    message: JournalMessage, entries: list[QuarantineEntry], registry: Registry, *, force: bool
) -> tuple[list[QuarantineEntry], list[QuarantineEntry], Request | None]:
    found = assess(
        topic=message.topic,
        payload=message.payload,
        registry=registry,
        received_at_ms=message.received_at_ms,
    )
    reasons = {refusal.position: refusal for refusal in found.refusals}
    whole = reasons.get(None)
    good: list[QuarantineEntry] = []
    bad: list[QuarantineEntry] = []
    positions: set[int] = set()
    for entry in entries:
        refusal = whole or (reasons.get(entry.position) if entry.position is not None else None)
        if refusal is not None:
            bad.append(replace(entry, code=refusal.code, text=refusal.text))
        elif entry.code in _ONLY_BY_FORCE and not force:
            bad.append(replace(entry, text=f"{entry.text}; it is released only by force, with a reason"))
        else:
            good.append(entry)
            positions |= {entry.position} if entry.position is not None else _good_items(found)
    if not good:
        return good, bad, None
    return (
        good,
        bad,
        Request(
            message.message_id,
            tuple(sorted(positions)),
            found.items,
            found.refusals,
            "",
            0,
            "",
            "",
            forced=force,
        ),
    )


def _good_items(found: Assessment) -> set[int]:
    return set(range(found.items)).difference(
        refusal.position for refusal in found.refusals if refusal.position is not None
    )


def read_releases(folder: Path) -> list[tuple[Request, bool]]:
    """Every release that was asked for, oldest first, and whether ingest has carried it out."""
    with open_view(folder) as view:
        return [(one, one.request_id <= view.marks.release) for one in read_requests(folder)]
