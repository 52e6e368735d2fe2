"""The one table of Chinese and English: states, reasons, duties, causes. Pages, screens and JSON take their words here."""

from typing import NamedTuple

from analytics.results import (
    Cause,
    Doubt,
    DutyStanding,
    PoolCondition,
    Reason,
    ReasonCode,
    ValueState,
    VerdictKind,
    VerdictState,
)
from gateway.contract.quantities import SPECS, Quantity


class Words(NamedTuple):
    """The same in Chinese and in English."""

    zh: str
    en: str


CONDITIONS: dict[str, Words] = {
    PoolCondition.IN_STANDARD: Words("达标", "In standard"),
    PoolCondition.OUT_OF_STANDARD: Words("不达标", "Out of standard"),
    PoolCondition.OVERDUE: Words("公示逾期", "Overdue"),
    PoolCondition.SUSPECT: Words("读数存疑", "Reading in doubt"),
    PoolCondition.CLOSED: Words("未开放", "Closed"),
    PoolCondition.MAINTENANCE: Words("维护中", "Maintenance"),
    PoolCondition.NOT_CONNECTED: Words("尚未接入", "Not yet connected"),
}

#: What a state means for somebody who stands in front of the pool.
ADVICE: dict[str, Words] = {
    PoolCondition.IN_STANDARD: Words("水质检测结果符合国家标准。", "The results meet the national standard."),
    PoolCondition.OUT_OF_STANDARD: Words(
        "检测结果超出国家标准，请向场所工作人员询问。",
        "A result is outside the national standard. Please ask the staff.",
    ),
    PoolCondition.OVERDUE: Words(
        "没有在规定时间内更新检测结果，目前无法说明水质。",
        "No result was updated in time; nothing can be said of the water now.",
    ),
    PoolCondition.SUSPECT: Words(
        "仪表读数存疑，不作为达标依据，应立即人工检测。",
        "The instrument is in doubt and vouches for nothing; a test by hand is due.",
    ),
    PoolCondition.CLOSED: Words("泳池目前不开放。", "The pool is closed now."),
    PoolCondition.MAINTENANCE: Words("泳池正在维护。", "The pool is under maintenance."),
    PoolCondition.NOT_CONNECTED: Words(
        "该泳池还没有接入在线监测。", "This pool is not connected to online monitoring yet."
    ),
}

VALUE_STATES: dict[str, Words] = {
    ValueState.IN_STANDARD: Words("达标", "in standard"),
    ValueState.OUT_OF_STANDARD: Words("不达标", "out of standard"),
    ValueState.ADVICE: Words("超出推荐值", "outside the recommended range"),
    ValueState.SUSPECT: Words("存疑", "in doubt"),
    ValueState.OVERDUE: Words("逾期", "overdue"),
    ValueState.UNVERIFIED: Words("不达标，未能核实", "out of standard, unverified"),
    ValueState.RETEST_DUE: Words("不达标，待复测", "out of standard, retest due"),
}

KINDS: dict[str, Words] = {
    "online": Words("在线监测", "online"),
    "manual": Words("人工检测", "by hand"),
    "laboratory": Words("实验室检测", "laboratory"),
}

PLACES: dict[str, Words] = {
    "return line": Words("回水管", "return line"),
    "supply line": Words("给水管", "supply line"),
    "basin": Words("池内", "basin"),
}

DUTIES: dict[str, Words] = {
    "daily_test": Words("每日自检", "Test by hand"),
    "posting": Words("场内公示", "Posting in the venue"),
    "online_monitoring": Words("在线监测", "Online monitoring"),
    "online_publication": Words("网上公示", "Publication on the network"),
    "full_test": Words("全项检测", "Full test"),
}

STANDINGS: dict[str, Words] = {
    DutyStanding.KEPT: Words("已履行", "kept"),
    DutyStanding.OVERDUE: Words("逾期", "overdue"),
    DutyStanding.UNVERIFIED: Words("无法核实", "unverified"),
    DutyStanding.NOT_DUE: Words("现不适用", "not due now"),
}

CAUSES: dict[str, Words] = {
    Cause.NOT_MEASURED: Words("未检测", "not measured"),
    Cause.NOT_RECEIVED: Words("已检测，未收到", "measured, not received"),
    Cause.NOT_PUBLISHED: Words("已收到，未公示", "received, not published"),
    Cause.NOT_DISPLAYED: Words("已公示，未展示", "published, not displayed"),
}

VERDICT_KINDS: dict[str, Words] = {
    VerdictKind.EXCEEDANCE: Words("超标", "Exceedance"),
    VerdictKind.LAPSE: Words("公示缺失", "Lapse"),
}

VERDICT_STATES: dict[str, Words] = {
    VerdictState.OPEN: Words("持续中", "open"),
    VerdictState.UNVERIFIED: Words("持续中，未能核实", "open, unverified"),
    VerdictState.RETEST_DUE: Words("待复测", "retest due"),
    VerdictState.CLOSED: Words("已结束", "closed"),
    VerdictState.WITHDRAWN: Words("已撤回", "withdrawn"),
}

DOUBTS: dict[str, Words] = {
    Doubt.PH_OUT_OF_LINE: Words("pH 偏离，余氯读数存疑，应人工检测", "in doubt by the pH; test by hand"),
}

DEMO_NOTICE = Words("演示：模拟数据，时限已缩短", "Demo: simulated pools, shortened time limits")

_REASONS: dict[str, Words] = {
    ReasonCode.OUTSIDE_LIMIT: Words("{quantity}超出限值", "{quantity} outside its limit"),
    ReasonCode.NOT_YET_CONFIRMED: Words(
        "{quantity}超出限值，待确认", "{quantity} outside its limit, not yet confirmed"
    ),
    ReasonCode.NO_RESULT_IN_TIME: Words("{quantity}没有及时更新的结果", "No result of {quantity} in time"),
    ReasonCode.PROBE_SILENT: Words("{quantity}在线仪表无数据", "Online probe of {quantity} silent"),
    ReasonCode.EXACT_ZERO: Words(
        "{quantity}仪表信号为零，应人工检测", "Probe of {quantity} lost its signal; test by hand"
    ),
    ReasonCode.SENSOR_STATUS: Words("{quantity}仪表报告异常", "Probe of {quantity} reports a fault"),
    ReasonCode.OUTSIDE_PLAUSIBLE_RANGE: Words(
        "{quantity}读数不合理", "Reading of {quantity} is not plausible"
    ),
    ReasonCode.OUTSIDE_OPENING_HOURS: Words("不在开放时间", "Outside opening hours"),
    ReasonCode.CLOSED_BY_ENTRY: Words("场所已登记停止开放", "Closed by an entry of the venue"),
    ReasonCode.MAINTENANCE_ENTRY: Words("场所已登记维护", "Maintenance entered by the venue"),
    ReasonCode.NEVER_CONNECTED: Words("尚未收到任何数据", "No reading was ever received"),
    ReasonCode.UNVERIFIED_SINCE: Words(
        "{quantity}超标后无数据", "{quantity}: no reading since it was outside its limit"
    ),
    ReasonCode.FLAT_LINE: Words(
        "{quantity}仪表读数长时间不变", "Probe of {quantity} has not moved for hours"
    ),
    ReasonCode.SUDDEN_CHANGE: Words("{quantity}读数突变", "Reading of {quantity} jumped"),
    ReasonCode.FIRST_AFTER_SILENCE: Words(
        "{quantity}中断后的首个读数", "First reading of {quantity} after a silence"
    ),
    ReasonCode.SENSORS_DISAGREE: Words(
        "{quantity}与其他仪表不一致", "Probe of {quantity} disagrees with another"
    ),
    ReasonCode.CALIBRATION_OVERDUE: Words(
        "{quantity}仪表校准已过期", "Calibration of the probe of {quantity} is overdue"
    ),
    ReasonCode.NOT_BELIEVED: Words("{quantity}读数存疑", "Reading of {quantity} is in doubt"),
}


def quantity_words(quantity: str | None) -> Words:
    """Name of a quantity; empty for none."""
    if quantity is None:
        return Words("", "")
    spec = SPECS[Quantity(quantity)]
    return Words(spec.name_zh, spec.name_en)


def reason_words(reason: Reason | None) -> Words | None:
    """A reason as a sentence, without its time."""
    if reason is None:
        return None
    pattern = _REASONS[reason.code]
    name = quantity_words(reason.quantity)
    begins = pattern.en.startswith("{quantity}")
    zh = pattern.zh.format(quantity=name.zh)
    en = pattern.en.format(quantity=name.en if begins else _within_sentence(name.en))
    if reason.text:
        zh, en = f"{zh}（{reason.text}）", f"{en} ({reason.text})"
    return Words(zh, en)


def silence_words(code: ReasonCode, quantity: str) -> Words:
    """What stands where a number was taken away at its deadline."""
    words = reason_words(Reason(code, quantity=quantity))
    return Words("", "") if words is None else words


def _within_sentence(name: str) -> str:
    """A name inside a sentence: its capital goes, unless it is part of an abbreviation as in ORP."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def span_words(span_s: int) -> Words:
    """A span of whole minutes or hours."""
    hours, rest_s = divmod(span_s, 3600)
    if rest_s == 0:
        return Words(f"{hours} 小时", f"{hours} hours")
    return Words(f"{span_s // 60} 分钟", f"{span_s // 60} minutes")


def place_words(place: str) -> Words:
    """A sensor's place; what is not a usual one stands as it was written."""
    return PLACES.get(place, Words(place, place))


def script_table() -> dict[str, dict[str, Words] | dict[str, int]]:
    """The words that the pages' scripts need, and the digits of numbers."""
    return {
        "states": CONDITIONS,
        "advice": ADVICE,
        "values": VALUE_STATES,
        "kinds": KINDS,
        "quantities": {quantity.value: quantity_words(quantity) for quantity in Quantity},
        "overdue": {
            quantity.value: silence_words(ReasonCode.NO_RESULT_IN_TIME, quantity) for quantity in Quantity
        },
        "unverified": {
            quantity.value: silence_words(ReasonCode.UNVERIFIED_SINCE, quantity) for quantity in Quantity
        },
        "digits": {quantity.value: spec.digits for quantity, spec in SPECS.items()},
    }
