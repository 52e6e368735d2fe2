"""Standards as data: which limits and duties a pool has, and how a violation is confirmed. Files: `standards/*.toml`."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from analytics.errors import ProfileError
from gateway.contract.quantities import Quantity
from gateway.contract.registry import PoolKind

_STANDARDS = Path(__file__).parent / "standards"
#: Where a profile has no duty of online publication: the age that other cities' systems allow.
_DEFAULT_ONLINE_AGE_MS = 900_000
_DEFAULT_TEST_AGE_MS = 86_400_000


class ClauseStatus(StrEnum):
    """Whether the text of a clause was read, or where else the figure comes from."""

    READ = "read"
    SECOND_HAND = "second_hand"
    UNCONFIRMED = "unconfirmed"
    BORROWED = "borrowed"
    OURS = "ours"


class Tier(StrEnum):
    """Operating limits say what is in standard; closure limits say when to close."""

    OPERATING = "operating"
    CLOSURE = "closure"


class Consequence(StrEnum):
    """What the order attaches to a violation; never more is claimed."""

    ORDER_AND_WARNING_FINE_AT_DISCRETION = "order_and_warning_fine_at_discretion"
    ORDER_TO_CORRECT_THEN_FINE = "order_to_correct_then_fine"
    NONE = "none"


class DutyKind(StrEnum):
    """What a pool has to do, again and again."""

    DAILY_TEST = "daily_test"
    POSTING = "posting"
    ONLINE_MONITORING = "online_monitoring"
    ONLINE_PUBLICATION = "online_publication"
    FULL_TEST = "full_test"


class ServedBy(StrEnum):
    """Which facts serve a duty."""

    MANUAL = "manual"
    LABORATORY = "laboratory"
    ONLINE = "online"
    PUBLICATION = "publication"
    NOTICE_BOARD = "notice_board"
    LABORATORY_REPORT = "laboratory_report"


class Side(StrEnum):
    """Which end of a range a limit is."""

    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Limit:
    """A range of a quantity; an absent end is None, a closed end belongs to the range. `from_ms` to `to_ms`: in force."""

    limit_id: str
    quantity: Quantity
    low: float | None
    high: float | None
    low_closed: bool
    high_closed: bool
    unit: str
    standard: str
    edition: str
    clause: str
    clause_status: ClauseStatus
    source: str
    binding: bool
    tier: Tier
    applies_to: frozenset[PoolKind]
    from_ms: int | None
    to_ms: int | None
    consequence: Consequence

    def in_force(self, at_ms: int) -> bool:
        """Whether the limit is in force at an instant."""
        return (self.from_ms is None or self.from_ms <= at_ms) and (self.to_ms is None or at_ms < self.to_ms)

    def outside_by(self, value: float) -> float | None:
        """How far a value lies outside, in the limit's unit; None inside. On an open end: 0."""
        if self.low is not None and (value < self.low or (value == self.low and not self.low_closed)):
            return self.low - value
        if self.high is not None and (value > self.high or (value == self.high and not self.high_closed)):
            return value - self.high
        return None


@dataclass(frozen=True, slots=True)
class LimitEnd:
    """One end of a limit, which is judged by itself; `rule` names it in verdicts."""

    rule: str
    limit: Limit
    side: Side
    value: float
    closed: bool


@dataclass(frozen=True, slots=True)
class Duty:
    """A duty. `before_session_s`: a fact older than this before an opening does not serve that session."""

    duty: DutyKind
    quantities: tuple[Quantity, ...]
    kinds: frozenset[PoolKind]
    interval_s: float
    grace_s: float
    before_session_s: float | None
    served_by: frozenset[ServedBy]
    standard: str
    edition: str
    clause: str
    clause_status: ClauseStatus
    source: str
    consequence: Consequence

    @property
    def age_ms(self) -> int:
        """Allowed age of a result: interval and grace."""
        return round((self.interval_s + self.grace_s) * 1000)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How long, and by how much, before a violation counts as begun or ended."""

    confirm_ms: int
    clear_ms: int
    hysteresis: float


@dataclass(frozen=True, eq=False)
class Profile:
    """Limits, duties and confirmation under a name. Compared by identity: a file is loaded once."""

    name: str
    title_zh: str
    title_en: str
    notice: bool
    grid_step_s: float
    confirm_s: float
    clear_s: float
    hysteresis: dict[Quantity, float]
    limits: tuple[Limit, ...]
    duties: tuple[Duty, ...]

    def confirmation(self, quantity: str) -> Confirmation:
        """Confirmation of a quantity; hysteresis in its unit."""
        return Confirmation(
            confirm_ms=round(self.confirm_s * 1000),
            clear_ms=round(self.clear_s * 1000),
            hysteresis=self.hysteresis.get(Quantity(quantity), 0.0),
        )


class KindRules:
    """What of a profile applies to one kind of pool, looked up once."""

    def __init__(self, profile: Profile, kind: PoolKind) -> None:
        self.limits = tuple(limit for limit in profile.limits if kind in limit.applies_to)
        self.duties = tuple(duty for duty in profile.duties if kind in duty.kinds)
        self._ends: dict[str, tuple[LimitEnd, ...]] = {}
        for limit in self.limits:
            # A recommended limit gives advice, never a verdict; a closure limit is judged although borrowed.
            if limit.binding or limit.tier is Tier.CLOSURE:
                self._ends[limit.quantity] = self._ends.get(limit.quantity, ()) + _ends(limit)
        self._ages = {
            (duty.duty, quantity): duty.age_ms for duty in self.duties for quantity in duty.quantities
        }

    def ends(self, quantity: str) -> tuple[LimitEnd, ...]:
        """The limit ends that are judged for a quantity."""
        return self._ends.get(quantity, ())

    def operating(self, quantity: str, at_ms: int) -> Limit | None:
        """The operating limit of a quantity that is in force at an instant, binding or recommended."""
        for limit in self.limits:
            if limit.quantity == quantity and limit.tier is Tier.OPERATING and limit.in_force(at_ms):
                return limit
        return None

    def online_age_ms(self, quantity: str) -> int:
        """How old an online value may be and still be in force."""
        return self._ages.get((DutyKind.ONLINE_PUBLICATION, Quantity(quantity)), _DEFAULT_ONLINE_AGE_MS)

    def test_duty(self, quantity: str) -> Duty | None:
        """The duty of testing a quantity by hand, if there is one."""
        for duty in self.duties:
            if duty.duty is DutyKind.DAILY_TEST and quantity in duty.quantities:
                return duty
        return None

    def test_age_ms(self, quantity: str) -> int:
        """How old a manual or laboratory result may be and still be in force."""
        return self._ages.get((DutyKind.DAILY_TEST, Quantity(quantity)), _DEFAULT_TEST_AGE_MS)

    @property
    def longest_age_ms(self) -> int:
        """The largest allowed age of any result: how far facts can reach forward."""
        ages = [duty.age_ms for duty in self.duties if duty.duty is not DutyKind.FULL_TEST]
        return max([*ages, _DEFAULT_TEST_AGE_MS, _DEFAULT_ONLINE_AGE_MS])


def _ends(limit: Limit) -> tuple[LimitEnd, ...]:
    low = (
        ()
        if limit.low is None
        else (LimitEnd(f"{limit.limit_id}.low", limit, Side.LOW, limit.low, limit.low_closed),)
    )
    if limit.high is None:
        return low
    return (*low, LimitEnd(f"{limit.limit_id}.high", limit, Side.HIGH, limit.high, limit.high_closed))


@lru_cache(maxsize=256)
def rules_for(profile: Profile, kind: PoolKind) -> KindRules:
    """What of a profile applies to a kind of pool."""
    return KindRules(profile, kind)


def known_profiles() -> list[str]:
    """Names of the profiles that come with the package."""
    return sorted(path.stem for path in _STANDARDS.glob("*.toml"))


@lru_cache(maxsize=64)
def load_profile(name_or_path: str) -> Profile:
    """Load a profile by its name, or by the path of a TOML file. Loaded once a process.

    Raises
    ------
    ProfileError
        With every mistake of the file; for an unknown name, with the names that exist.
    """
    from analytics.profile_file import parse_profile  # it needs the types above

    path = _STANDARDS / f"{name_or_path}.toml"
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProfileError(
            f"there is no profile {name_or_path!r}; known are {', '.join(known_profiles())}, "
            "or give the path of a .toml file"
        ) from error
    return parse_profile(text, place=path.name, limits_of=lambda other: load_profile(other).limits)
