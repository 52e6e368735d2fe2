"""What operators watch of a gateway: its outbox, its connection, and what keeps readings from leaving.

The outbox belongs to the gateway's own thread: that one writes the figures down now and then, and any other reads them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gateway.contract.counting import counted
from gateway.contract.times import format_timestamp
from gateway.outbox import Outbox

#: How old figures may be. [s]
FIGURES_EVERY_S = 10.0
#: Receipts come each second while ingest runs: what waits for longer is held up somewhere. Ours.
_HELD_UP_MS = 10 * 60_000
#: A gateway that has less room than this left should be looked at before the night. Ours.
_FEW_HOURS = 24.0
_NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class GatewayFigures:
    """A gateway at one instant. Times are ms since 1970, 0 for none; `hours_left` is NaN while no rate is known."""

    connected: int = counted("Whether the broker has accepted the connection.", kind="gauge")
    outbox_works: int = counted("Whether the outbox took what was last given to it.", start=1, kind="gauge")
    under_way_messages: int = counted("Messages sent that no receipt has named yet.", kind="gauge")
    unkept_waiting_readings: int = counted(
        "Readings in memory that the outbox could not take yet.", kind="gauge"
    )
    outbox_messages: int = counted("Messages in the outbox that are still to be confirmed.", kind="gauge")
    outbox_readings: int = counted("Readings in the outbox that are still to be confirmed.", kind="gauge")
    dead_messages: int = counted("Messages in the outbox that were given up.", kind="gauge")
    outbox_bytes: int = counted("What the outbox takes of its file. [byte]", kind="gauge")
    outbox_fill_ratio: float = counted("Share of the outbox's room that is taken.", kind="gauge")
    disk_free_bytes: int = counted("What the disk under the outbox has left. [byte]", kind="gauge")
    hours_left: float = counted(
        "Hours that the room lasts without receipts; NaN: no rate is known yet.", start=math.nan, kind="gauge"
    )
    oldest_kept_at_ms: int = counted(
        "When the oldest message in the outbox was made; 0: none waits. [ms since 1970]", kind="gauge"
    )
    appended_messages: int = counted("Messages that the outbox ever took.", kind="gauge")
    appended_readings: int = counted("Readings that the outbox ever took.", kind="gauge")
    dropped_messages: int = counted("Messages ever given up for lack of room.", kind="gauge")
    dropped_readings: int = counted("Readings ever given up for lack of room.", kind="gauge")
    last_receipt_at_ms: int = counted(
        "When the last receipt came; 0: none yet. [ms since 1970]", kind="gauge"
    )
    figures_at_ms: int = counted("When these figures were taken. [ms since 1970]", kind="gauge")


def outbox_figures(outbox: Outbox, *, bytes_per_hour: float, works: bool) -> dict[str, Any]:
    """Those figures that the outbox tells, by name.

    Parameters
    ----------
    bytes_per_hour : float
        Payload that is appended; 0: not known. [byte/h]
    works : bool
        Whether it took what was last given to it.

    Raises
    ------
    OutboxError, OSError
        If the disk does not answer.
    """
    account = outbox.account()
    hours_left = outbox.hours_left(bytes_per_hour=bytes_per_hour)
    return {
        "outbox_works": int(works),
        "outbox_messages": account.messages_pending,
        "outbox_readings": account.readings_pending,
        "dead_messages": account.messages_dead,
        "outbox_bytes": outbox.taken_bytes,
        "outbox_fill_ratio": outbox.fill,
        "disk_free_bytes": outbox.disk_free_bytes,
        "hours_left": math.nan if hours_left is None else hours_left,
        "oldest_kept_at_ms": outbox.oldest_ms() or 0,
        "appended_messages": account.messages_sent,
        "appended_readings": account.readings_sent,
        "dropped_messages": account.messages_dropped,
        "dropped_readings": account.readings_dropped,
    }


def not_sending(figures: Mapping[str, GatewayFigures], now_ms: int) -> list[str]:
    """What keeps gateways' readings from leaving or from being kept, in words; none: nothing does.

    Parameters
    ----------
    figures : mapping of gateway id to GatewayFigures
        As last taken.
    now_ms : int
        Now. [ms since 1970]
    """
    away = [name for name, one in figures.items() if not one.connected]
    failing = [name for name, one in figures.items() if not one.outbox_works]
    held_up = {
        name: one.oldest_kept_at_ms
        for name, one in figures.items()
        if one.connected and one.oldest_kept_at_ms and now_ms - one.oldest_kept_at_ms > _HELD_UP_MS
    }
    scarce = [name for name, one in figures.items() if one.hours_left < _FEW_HOURS]
    reasons = []
    if away:
        reasons.append(f"without the broker, readings are kept: {_named(away)}")
    if failing:
        reasons.append(f"the outbox takes nothing, see the disk: {_named(failing)}")
    if held_up:
        since = format_timestamp(min(held_up.values()))
        reasons.append(f"no receipt since {since}, see that ingest runs: {_named(list(held_up))}")
    if scarce:
        reasons.append(f"the outbox has room for less than {_FEW_HOURS:.0f} h: {_named(scarce)}")
    return reasons


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_AT_MOST])
    more = len(names) - _NAMED_AT_MOST
    return f"{shown} and {more} more" if more > 0 else shown


def summed(figures: Sequence[GatewayFigures]) -> GatewayFigures:
    """Figures of many gateways as one: sums, and of room and times that of the gateway which is worst off."""
    known_hours = [one.hours_left for one in figures if not math.isnan(one.hours_left)]
    waiting = [one.oldest_kept_at_ms for one in figures if one.oldest_kept_at_ms]
    worst: dict[str, Any] = {
        "hours_left": min(known_hours, default=math.nan),
        "oldest_kept_at_ms": min(waiting, default=0),
        "outbox_fill_ratio": max((one.outbox_fill_ratio for one in figures), default=0),
        "disk_free_bytes": min((one.disk_free_bytes for one in figures), default=0),
        "last_receipt_at_ms": min((one.last_receipt_at_ms for one in figures), default=0),
        "figures_at_ms": min((one.figures_at_ms for one in figures), default=0),
    }
    sums = {
        field.name: sum(getattr(one, field.name) for one in figures)
        for field in fields(GatewayFigures)
        if field.name not in worst
    }
    return GatewayFigures(**sums, **worst)
