"""A pool's state as the public sees it: one JSON object, hashed over its facts. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from analytics.results import (
    DutyStanding,
    PoolCondition,
    PoolState,
    ReasonCode,
    ShownValue,
    ValueState,
)
from dashboards.public.words import reason_words, silence_words
from gateway.contract.quantities import SPECS, Quantity
from gateway.contract.registry import Pool, Registry
from gateway.contract.times import format_timestamp, parse_timestamp
from ingest.store.records import PublicationRow, PublishedValue

Snapshot = dict[str, Any]

#: Not part of what is hashed: when it was said, not what.
_UNHASHED = ("published_at", "hash")
#: Most digits after the point that a number is given to keep it from contradicting its verdict.
_MOST_DIGITS = 6
#: The worst first; the list of all pools has this order.
STATE_ORDER = (
    PoolCondition.OUT_OF_STANDARD,
    PoolCondition.OVERDUE,
    PoolCondition.SUSPECT,
    PoolCondition.IN_STANDARD,
    PoolCondition.MAINTENANCE,
    PoolCondition.CLOSED,
    PoolCondition.NOT_CONNECTED,
)
_RANK = {state.value: rank for rank, state in enumerate(STATE_ORDER)}
_VALUE_RANK = {
    state.value: rank
    for rank, state in enumerate(
        (
            ValueState.OUT_OF_STANDARD,
            ValueState.UNVERIFIED,
            ValueState.RETEST_DUE,
            ValueState.OVERDUE,
            ValueState.SUSPECT,
            ValueState.ADVICE,
            ValueState.IN_STANDARD,
        )
    )
}
_STATUS_OF_KIND = {"online": "normal", "manual": "manual", "laboratory": "laboratory"}


def _time(instant_ms: int | None) -> str | None:
    return None if instant_ms is None else format_timestamp(instant_ms)


def _value(shown: ShownValue) -> dict[str, Any]:
    words = reason_words(shown.reason)
    return {
        "quantity": shown.quantity,
        "sensor_id": shown.sensor_id,
        "place": shown.place,
        "kind": shown.kind,
        "value": shown.value,
        "unit": shown.unit,
        "limit": list(shown.limit),
        "binding": shown.binding,
        "clause": shown.clause,
        "state": shown.state.value,
        "measured_at": _time(shown.measured_at_ms),
        "valid_until": _time(shown.valid_until_ms),
        "reason": None
        if shown.reason is None or words is None
        else {
            "code": shown.reason.code.value,
            "since": _time(shown.reason.since_ms),
            "zh": words.zh,
            "en": words.en,
        },
    }


def _full_name(venue: str, pool: str) -> str:
    """A pool's name with its venue's, unless it says the venue already."""
    return pool if pool.startswith(venue) else f"{venue} · {pool}"


def build_snapshot(state: PoolState, *, pool: Pool, registry: Registry, published_at_ms: int) -> Snapshot:
    """Snapshot of a pool, with its hash.

    Numbers past their `valid_until` at `published_at_ms` are withheld already here.
    """
    venue = registry.venue_of(pool)
    words = reason_words(state.reason)
    snapshot: Snapshot = {
        "pool_id": pool.pool_id,
        "name_zh": _full_name(venue.name_zh, pool.name_zh),
        "name_en": _full_name(venue.name_en, pool.name_en),
        "district": venue.district,
        "state": state.state.value,
        "reason": None
        if state.reason is None or words is None
        else {
            "code": state.reason.code.value,
            "since": _time(state.reason.since_ms),
            "zh": words.zh,
            "en": words.en,
        },
        "open": state.open,
        "opens_at": _time(state.opens_at_ms),
        "closes_at": _time(state.closes_at_ms),
        "opening_hours": pool.opening[-1].expression,
        "time_zone": pool.time_zone,
        "grade": None
        if venue.grade is None
        else {
            "grade": venue.grade.grade,
            "issuer": venue.grade.issuer,
            "issued_on": venue.grade.issued_on.isoformat(),
        },
        "profile": state.profile,
        "notice": state.profile_notice,
        "values": [_value(shown) for shown in state.values],
        "others": [_value(shown) for shown in state.others],
        "duties": [
            {
                "duty": duty.duty,
                "quantity": duty.quantity,
                "standing": duty.standing.value,
                "clause": duty.clause,
                "deadline": _time(duty.deadline_ms) if duty.standing is not DutyStanding.NOT_DUE else None,
            }
            for duty in state.duties
        ],
    }
    return withhold_expired(_sealed(snapshot, published_at_ms), now_ms=published_at_ms)


def unknown_snapshot(*, pool: Pool, registry: Registry, published_at_ms: int, notice: bool) -> Snapshot:
    """Snapshot of a registered pool of which analytics has not said anything yet."""
    state = PoolState(
        pool_id=pool.pool_id,
        venue_id=pool.venue_id,
        district=registry.venue_of(pool).district,
        at_ms=published_at_ms,
        state=PoolCondition.NOT_CONNECTED,
        reason=None,
        expected=False,
        open=False,
        opens_at_ms=None,
        closes_at_ms=None,
        values=[],
        duties=[],
        open_verdicts=[],
        profile=pool.profile,
        profile_notice=notice,
    )
    return build_snapshot(state, pool=pool, registry=registry, published_at_ms=published_at_ms)


def _sealed(snapshot: Snapshot, published_at_ms: int) -> Snapshot:
    facts = {key: part for key, part in snapshot.items() if key not in _UNHASHED}
    canonical = msgspec.json.encode(facts, order="sorted")
    return {
        **facts,
        "published_at": format_timestamp(published_at_ms),
        "hash": hashlib.sha256(canonical).hexdigest(),
    }


def expires_at_ms(snapshot: Snapshot) -> int | None:
    """When the first number of a snapshot may no longer be shown; None if it shows none with a deadline."""
    deadlines = [
        parse_timestamp(value["valid_until"])
        for value in (*snapshot["values"], *snapshot["others"])
        if value["value"] is not None and value["valid_until"] is not None
    ]
    return min(deadlines, default=None)


def withhold_expired(snapshot: Snapshot, *, now_ms: int) -> Snapshot:
    """The same snapshot without the numbers whose deadline has passed; itself if there is none.

    A number nobody vouches for any more is taken away even when no word comes from analytics.
    """
    expires = expires_at_ms(snapshot)
    if expires is None or now_ms < expires:
        return snapshot
    values = [_withheld(value, now_ms) for value in snapshot["values"]]
    others = [value for value in snapshot["others"] if _withheld(value, now_ms) is value]
    changed: Snapshot = {**snapshot, "values": values, "others": others}
    worst = next((value for value in values if value["state"] == ValueState.OVERDUE), None)
    if snapshot["state"] == PoolCondition.IN_STANDARD and worst is not None:
        changed |= {"state": PoolCondition.OVERDUE.value, "reason": worst["reason"]}
    return _sealed(changed, now_ms)


def _withheld(value: dict[str, Any], now_ms: int) -> dict[str, Any]:
    """A value without its number if its deadline has passed; itself if not."""
    deadline = value["valid_until"]
    if value["value"] is None or deadline is None or parse_timestamp(deadline) > now_ms:
        return value
    state, code, since = ValueState.OVERDUE, ReasonCode.NO_RESULT_IN_TIME, deadline
    # Silence does not end an exceedance, nor hide it.
    if _is_exceedance(value) and value["kind"] != "online":
        return {**value, "value": None, "state": ValueState.RETEST_DUE.value}
    if _is_exceedance(value):
        state, code, since = ValueState.UNVERIFIED, ReasonCode.UNVERIFIED_SINCE, value["measured_at"]
    words = silence_words(code, value["quantity"])
    reason = {"code": code.value, "since": since, "zh": words.zh, "en": words.en}
    return {**value, "value": None, "state": state.value, "reason": reason}


def _is_exceedance(value: dict[str, Any]) -> bool:
    """Whether a value is out of standard, and that is more than a suspicion."""
    reason = value["reason"]
    unconfirmed = reason is not None and reason["code"] == ReasonCode.NOT_YET_CONFIRMED
    return value["state"] == ValueState.OUT_OF_STANDARD and not unconfirmed


def worst_value(snapshot: Snapshot) -> dict[str, Any] | None:
    """The value that stands for a pool in the list: the worst, and among equals the first in order of display."""
    return min(snapshot["values"], key=lambda value: _VALUE_RANK[value["state"]], default=None)


def list_entry(snapshot: Snapshot) -> dict[str, Any]:
    """The short form of a pool in the list of all."""
    worst = worst_value(snapshot)
    return {
        "pool_id": snapshot["pool_id"],
        "name": snapshot["name_zh"],
        "district": snapshot["district"],
        "state": snapshot["state"],
        "worst": None
        if worst is None
        else {"quantity": worst["quantity"], "value": worst["value"], "state": worst["state"]},
        "measured_at": None if worst is None else worst["measured_at"],
        "published_at": snapshot["published_at"],
    }


def worst_first(snapshots: Mapping[str, Snapshot]) -> list[Snapshot]:
    """Snapshots by state, the worst first, then by district and name."""
    return sorted(
        snapshots.values(),
        key=lambda one: (_RANK[one["state"]], one["district"], one["name_zh"], one["pool_id"]),
    )


def publication_row(snapshot: Snapshot, *, replica: str) -> PublicationRow:
    """What the publication log keeps of a snapshot: every value with the time of its measurement."""
    return PublicationRow(
        pool_id=snapshot["pool_id"],
        published_at_ms=parse_timestamp(snapshot["published_at"]),
        content_hash=snapshot["hash"],
        replica=replica,
        state=snapshot["state"],
        values=tuple(
            PublishedValue(
                quantity=value["quantity"],
                sensor_id=value["sensor_id"],
                measured_at_ms=parse_timestamp(value["measured_at"]),
                value=value["value"],
                status=_STATUS_OF_KIND[value["kind"]],
            )
            for value in (*snapshot["values"], *snapshot["others"])
            if value["measured_at"] is not None
        ),
    )


def shown_number(
    value: float, quantity: str, limit: tuple[float | None, float | None] | list[float | None]
) -> str:
    """A number with its quantity's digits, and with more where rounding would move it across a limit."""
    digits = SPECS[Quantity(quantity)].digits
    low, high = limit
    while digits < _MOST_DIGITS:
        rounded = round(value, digits)
        if not any(end is not None and _side(rounded, end) != _side(value, end) for end in (low, high)):
            break
        digits += 1
    return f"{value:.{digits}f}"


def _side(value: float, end: float) -> int:
    return (value > end) - (value < end)


def limit_text(limit: tuple[float | None, float | None] | list[float | None]) -> str:
    """A limit as text, both ends with the same digits: ``0.3–1.0``, ``≤ 1``, ``≥ 650``; empty for none."""
    low, high = limit
    if low is not None and high is not None:
        digits = max(len(f"{end:.6f}".rstrip("0").partition(".")[2]) for end in (low, high))
        return f"{low:.{digits}f}–{high:.{digits}f}"
    if high is not None:
        return f"≤ {high:g}"
    return "" if low is None else f"≥ {low:g}"
