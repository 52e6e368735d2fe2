"""Identity of verdicts through re-judging (DESIGN 12.10): sticky, opaque, nothing overwritten. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from analytics.results import Verdict, VerdictState
from analytics.spans import FAR_MS

#: A verdict as judged, without identity yet: `verdict_id` is "", `revision` 0.
Finding = Verdict

_Key = tuple[str, str, str, str, str | None, str | None]


def _key(verdict: Verdict) -> _Key:
    return (
        verdict.kind,
        verdict.pool_id,
        verdict.rule,
        verdict.quantity,
        verdict.sensor_id,
        verdict.sample_kind,
    )


def _end(verdict: Verdict) -> int:
    return FAR_MS if verdict.end_ms is None else verdict.end_ms


def _overlap(one: Verdict, other: Verdict) -> bool:
    return one.start_ms < _end(other) and other.start_ms < _end(one)


def _age(verdict: Verdict) -> tuple[int, int, str]:
    """Sorts the oldest first: by when it was first judged."""
    return (verdict.first_judged_at_ms or verdict.judged_at_ms, verdict.start_ms, verdict.verdict_id)


def same_content(one: Verdict, other: Verdict) -> bool:
    """Whether two verdicts say the same, apart from identity, revision and when they were judged."""
    return without_identity(one) == without_identity(other)


def without_identity(verdict: Verdict) -> Verdict:
    """The verdict as two ways of judging the same facts must agree on it (DESIGN 12.1)."""
    return replace(verdict, verdict_id="", revision=0, judged_at_ms=0, first_judged_at_ms=0)


def reconcile(
    findings: Iterable[Finding], current: Iterable[Verdict], *, judged_at_ms: int, new_id: Callable[[], str]
) -> list[Verdict]:
    """Revisions to write so that the current verdicts of a span become what was now found there.

    Parameters
    ----------
    findings : iterable of Finding
        Everything found in the span that was judged.
    current : iterable of Verdict
        Current revisions that overlap that span, withdrawn ones left out.
    new_id : callable
        Gives a new opaque id.

    Returns
    -------
    revisions : list of Verdict
        Changed and new verdicts with their next revision; nothing for those that stay as they are. A verdict that no
        finding goes on with is withdrawn, naming the survivor if it was merged into one.
    """
    stored: dict[_Key, list[Verdict]] = defaultdict(list)
    found: dict[_Key, list[Finding]] = defaultdict(list)
    for verdict in current:
        stored[_key(verdict)].append(verdict)
    for finding in findings:
        found[_key(finding)].append(finding)
    revisions: list[Verdict] = []
    for key in {**stored, **found}:
        revisions += _reconcile_one(
            sorted(found.get(key, ()), key=lambda finding: finding.start_ms),
            sorted(stored.get(key, ()), key=_age),
            judged_at_ms=judged_at_ms,
            new_id=new_id,
        )
    return revisions


def _reconcile_one(
    findings: Sequence[Finding], current: Sequence[Verdict], *, judged_at_ms: int, new_id: Callable[[], str]
) -> list[Verdict]:
    revisions: list[Verdict] = []
    left = list(current)
    chosen: list[tuple[Finding, str]] = []
    for finding in findings:
        # The oldest that overlaps goes on with the first piece; what is left may go on with a later piece.
        heir = next((verdict for verdict in left if _overlap(verdict, finding)), None)
        if heir is None:
            named = replace(
                finding,
                verdict_id=new_id(),
                revision=1,
                judged_at_ms=judged_at_ms,
                first_judged_at_ms=judged_at_ms,
            )
            revisions.append(named)
            chosen.append((finding, named.verdict_id))
            continue
        left.remove(heir)
        chosen.append((finding, heir.verdict_id))
        if not same_content(finding, heir):
            revisions.append(
                replace(
                    finding,
                    verdict_id=heir.verdict_id,
                    revision=heir.revision + 1,
                    judged_at_ms=judged_at_ms,
                    first_judged_at_ms=heir.first_judged_at_ms,
                )
            )
    for verdict in left:
        survivor = next((verdict_id for finding, verdict_id in chosen if _overlap(verdict, finding)), None)
        revisions.append(
            replace(
                verdict,
                state=VerdictState.WITHDRAWN,
                revision=verdict.revision + 1,
                judged_at_ms=judged_at_ms,
                survivor=survivor,
            )
        )
    return revisions
