"""What a deduction says, in Chinese and English. Pure.

Here, and not with the pages' words, because the sentence is a part of the published formula: it goes into the files of
``poolwatch judge``, where no page is.
"""

from dataclasses import dataclass

from analytics.indicator.items import (
    CLOSURE_POINTS_EACH,
    OUT_FACTOR,
    OVERDUE_FACTOR,
    SILENCE_FACTOR,
    Item,
    ItemKind,
    Loss,
)
from analytics.standards.profile import DutyKind
from gateway.contract.quantities import Quantity

_QUANTITY = {
    Quantity.FREE_CHLORINE_MG_L: ("游离性余氯", "free chlorine"),
    Quantity.PH: ("pH", "pH"),
    Quantity.WATER_TEMP_C: ("水温", "water temperature"),
    Quantity.COMBINED_CHLORINE_MG_L: ("化合性余氯", "combined chlorine"),
    Quantity.TURBIDITY_NTU: ("浑浊度", "turbidity"),
}
_DUTY = {
    DutyKind.DAILY_TEST: ("自检", "tests by the venue"),
    DutyKind.POSTING: ("场所内公示", "posting in the venue"),
}
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence with its figures, and the computation, in both languages."""

    zh: str
    en: str


def found(
    item: Item, loss: Loss, *, part_ms: int, known_ms: int, events: int, of: float, lost: float
) -> Finding:
    """What cost the points, and how many.

    Parameters
    ----------
    item, loss : Item, Loss
        What of.
    part_ms, known_ms : int
        The bad, overdue or silent time, and the time that it is a part of. [ms]
    events : int
        Exceedances of closure limits.
    of, lost : float
        Applicable and lost points.
    """
    zh, en = _subject(item)
    if loss is Loss.CLOSURE:
        sum_ = f"min({CLOSURE_POINTS_EACH:g} × {events}, {of:.4g}) = {lost:.4g}"
        return Finding(
            f"{zh}：{events} 次超出停用限值；{sum_} 分",
            f"{en}: {events} × beyond a closure limit; {sum_} points",
        )
    part, known = _minutes(part_ms), _minutes(known_ms)
    factor = _factor(item, loss)
    sum_ = f"{of:.4g} × min({factor:g} × {part} / {known}, 1)"
    # Silence takes no more than what is left of the item.
    unlimited = of * min(factor * part_ms / known_ms, 1.0)
    capped_zh, capped_en = (
        ("", "") if lost >= unlimited * (1 - 1e-12) else ("，以该项余分为限", ", at most what is left")
    )
    what_zh, what_en = _WHAT[loss]
    return Finding(
        f"{zh}：可判定的 {known} 分钟中有 {part} 分钟{what_zh}；{sum_}{capped_zh} = {lost:.4g} 分",
        f"{en}: {part} of {known} known minutes {what_en}; {sum_}{capped_en} = {lost:.4g} points",
    )


_WHAT = {
    Loss.OUT: ("不合格", "out of standard"),
    Loss.SILENT: ("无有效数据", "without a valid reading"),
    Loss.OVERDUE: ("逾期", "overdue"),
}


def left_out_because(item: Item, *, unverified_ms: int, known_ms: int) -> Finding:
    """Why an item does not count, or not with all of its points."""
    zh, en = _subject(item)
    if unverified_ms + known_ms == 0:
        return Finding(
            f"{zh}：本期没有可判定的时间，不计分",
            f"{en}: nothing to judge it by in this period, not counted",
        )
    minutes, total = _minutes(unverified_ms), _minutes(unverified_ms + known_ms)
    return Finding(
        f"{zh}：{total} 分钟中有 {minutes} 分钟无法核实，这部分不计分",
        f"{en}: {minutes} of {total} minutes cannot be verified; that part is not counted",
    )


def _factor(item: Item, loss: Loss) -> float:
    if loss is Loss.OUT:
        return OUT_FACTOR
    if loss is Loss.OVERDUE:
        return OVERDUE_FACTOR
    return SILENCE_FACTOR if item.kind is ItemKind.MONITORING else 1.0


def _subject(item: Item) -> tuple[str, str]:
    names = [_QUANTITY.get(quantity, (quantity.value, quantity.value)) for quantity in item.quantities]
    zh, en = "、".join(name[0] for name in names), ", ".join(name[1] for name in names)
    if item.kind is ItemKind.MONITORING:
        return f"在线监测（{zh}）", f"online monitoring ({en})"
    if item.kind is ItemKind.CLOSURE:
        return f"停用限值（{zh}）", f"closure limits ({en})"
    if item.duty is not None:
        duty_zh, duty_en = _DUTY.get(item.duty, (item.duty.value, item.duty.value))
        return f"{duty_zh}（{zh}）", f"{duty_en} ({en})"
    return zh, en


def _minutes(duration_ms: int) -> str:
    """Minutes to the millisecond, without trailing zeros."""
    return f"{duration_ms / _MINUTE_MS:.5f}".rstrip("0").rstrip(".")
