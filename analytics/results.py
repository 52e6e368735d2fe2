"""What analytics says, and others may rely on: verdicts, and the state of a pool. JSON through `encode` and `decode`.

Words for people are not here: a reason is a code with parameters, and the pages put it into Chinese and English.
"""

from enum import StrEnum

import msgspec


class PoolCondition(StrEnum):
    """State of a pool, as shown. Silence is never in standard."""

    IN_STANDARD = "in_standard"
    OUT_OF_STANDARD = "out_of_standard"
    OVERDUE = "overdue"
    SUSPECT = "suspect"
    CLOSED = "closed"
    MAINTENANCE = "maintenance"
    NOT_CONNECTED = "not_connected"


class ValueState(StrEnum):
    """State of one shown value. `advice`: outside a recommended limit, which never makes out of standard."""

    IN_STANDARD = "in_standard"
    OUT_OF_STANDARD = "out_of_standard"
    ADVICE = "advice"
    SUSPECT = "suspect"
    OVERDUE = "overdue"
    UNVERIFIED = "unverified"
    RETEST_DUE = "retest_due"


class ReasonCode(StrEnum):
    """Why a state is what it is."""

    OUTSIDE_LIMIT = "outside_limit"
    NOT_YET_CONFIRMED = "not_yet_confirmed"
    NO_RESULT_IN_TIME = "no_result_in_time"
    PROBE_SILENT = "probe_silent"
    EXACT_ZERO = "exact_zero"
    SENSOR_STATUS = "sensor_status"
    OUTSIDE_PLAUSIBLE_RANGE = "outside_plausible_range"
    OUTSIDE_OPENING_HOURS = "outside_opening_hours"
    CLOSED_BY_ENTRY = "closed_by_entry"
    MAINTENANCE_ENTRY = "maintenance_entry"
    NEVER_CONNECTED = "never_connected"
    UNVERIFIED_SINCE = "unverified_since"
    FLAT_LINE = "flat_line"
    SUDDEN_CHANGE = "sudden_change"
    FIRST_AFTER_SILENCE = "first_after_silence"
    SENSORS_DISAGREE = "sensors_disagree"
    CALIBRATION_OVERDUE = "calibration_overdue"
    NOT_BELIEVED = "not_believed"


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Code and what it speaks of; `since_ms` where it has a beginning, `by` for an entry of a person."""

    code: ReasonCode
    quantity: str | None = None
    sensor_id: str | None = None
    since_ms: int | None = None
    by: str | None = None
    text: str | None = None


class ShownValue(msgspec.Struct, frozen=True):
    """The value that decides the state of a quantity. `value` is None where no number may be shown.

    `valid_until_ms`: from then on nobody vouches for the number, and the page takes it away by itself.
    `limit` is (low, high), None for an open end; `closed` ends belong to the limit.
    """

    quantity: str
    sensor_id: str
    place: str
    kind: str
    value: float | None
    unit: str
    limit: tuple[float | None, float | None]
    binding: bool
    clause: str
    state: ValueState
    measured_at_ms: int | None
    valid_until_ms: int | None
    reason: Reason | None = None


class DutyStanding(StrEnum):
    """How a duty stands now."""

    KEPT = "kept"
    OVERDUE = "overdue"
    UNVERIFIED = "unverified"
    NOT_DUE = "not_due"


class DutyState(msgspec.Struct, frozen=True):
    """One duty of one quantity now.

    `age_s`: since the newest fact that serves it was measured; `lag_s`: from then until it counted (stored, published).
    """

    duty: str
    quantity: str
    standing: DutyStanding
    clause: str
    age_s: float | None = None
    lag_s: float | None = None
    deadline_ms: int | None = None


class PoolState(msgspec.Struct, frozen=True):
    """Everything that can be said of a pool at `at_ms`; what boards and the public pages read.

    `values` has one value of each quantity, `others` what is in force beside them. `expected`: readings are due now
    (open, connected, not in maintenance). `next_change_ms`: when time alone will change this, if no message does before.
    """

    pool_id: str
    venue_id: str
    district: str
    at_ms: int
    state: PoolCondition
    reason: Reason | None
    expected: bool
    open: bool
    opens_at_ms: int | None
    closes_at_ms: int | None
    values: list[ShownValue]
    duties: list[DutyState]
    open_verdicts: list[str]
    profile: str
    profile_notice: bool
    next_change_ms: int | None = None
    others: list[ShownValue] = []


class VerdictKind(StrEnum):
    """What a verdict is about."""

    EXCEEDANCE = "exceedance"
    LAPSE = "lapse"


class VerdictState(StrEnum):
    """Where a verdict stands. `unverified` and `retest_due` are open ones that nobody can vouch for any more."""

    OPEN = "open"
    UNVERIFIED = "unverified"
    RETEST_DUE = "retest_due"
    CLOSED = "closed"
    WITHDRAWN = "withdrawn"


class Cause(StrEnum):
    """Why a publication is overdue at an instant."""

    NOT_MEASURED = "not_measured"
    NOT_RECEIVED = "not_received"
    NOT_PUBLISHED = "not_published"
    NOT_DISPLAYED = "not_displayed"


class Doubt(StrEnum):
    """Why an exceedance may not be one: it stands, and calls for a test by hand."""

    PH_OUT_OF_LINE = "ph_out_of_line"


class EndedBy(StrEnum):
    """What ended a lapse: a fact that serves the duty; the hours or a closure; or that the duty binds no longer.

    `unverified`: from then on nobody can tell (posting, on the next day of a pool that never closes).
    """

    FACT = "fact"
    CLOSING = "closing"
    CLOSURE = "closure"
    NOT_BOUND = "not_bound"
    UNVERIFIED = "unverified"


class ServingFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """A fact that serves a duty.

    `served_by` is a word of the profile's, or `screen`, or `begin`: the duty itself began. `source`: id of the sensor
    or the display, or who entered it. `counted_at_ms`: from when it counted (stored, published, posted, displayed).
    """

    served_by: str
    source: str
    measured_at_ms: int
    counted_at_ms: int


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """The facts that prove a lapse; the same while it is open, unless something comes late.

    `last`: of the facts before the lapse the one that was in force longest; None if every one was older than allowed.
    `ended`, `ended_by`: once it is closed, by what, and if by a fact, by which.
    """

    last: ServingFact | None = None
    ended: EndedBy | None = None
    ended_by: ServingFact | None = None


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """An exceedance or a lapse with its limit or duty, standard, edition and clause.

    `rule`: id of the limit end or of the duty in the profile. For an exceedance: `limit`, `tier`, `worst_value`
    (in the quantity's unit), `margin` (how far the worst lies outside), `unverified_since_ms`, `doubt`. For a lapse:
    `seconds_by_cause` over the overdue time once it is closed, `cause`, the largest of them so far, and `evidence`.
    `first_judged_at_ms`: `judged_at_ms` of revision 1.
    """

    verdict_id: str
    revision: int
    kind: VerdictKind
    pool_id: str
    quantity: str
    rule: str
    profile: str
    standard: str
    edition: str
    clause: str
    clause_status: str
    consequence: str
    state: VerdictState
    start_ms: int
    end_ms: int | None
    judged_at_ms: int
    sensor_id: str | None = None
    sample_kind: str | None = None
    tier: str | None = None
    limit: float | None = None
    worst_value: float | None = None
    margin: float | None = None
    unverified_since_ms: int | None = None
    seconds_by_cause: dict[str, float] | None = None
    cause: Cause | None = None
    survivor: str | None = None
    first_judged_at_ms: int = 0
    evidence: Evidence | None = None
    doubt: Doubt | None = None


def encode(result: Verdict | PoolState) -> bytes:
    """UTF-8 JSON of a result, for the store's `body`."""
    return msgspec.json.encode(result)


_VERDICT = msgspec.json.Decoder(Verdict)
_POOL_STATE = msgspec.json.Decoder(PoolState)


def decode_verdict(body: bytes) -> Verdict:
    """Verdict of a stored body; msgspec.DecodeError if it is none."""
    return _VERDICT.decode(body)


def decode_pool_state(body: bytes) -> PoolState:
    """Pool state of a stored body; msgspec.DecodeError if it is none."""
    return _POOL_STATE.decode(body)
