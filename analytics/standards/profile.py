"""Standards as data: which limits and duties a pool has, and how a violation is confirmed. Files: `standards/*.toml`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from analytics.errors import ProfileError
from analytics.standards.limits import (
    ClauseStatus,
    Consequence,
    Limit,
    LimitEnd,
    Side,
    Tier,
    in_force,
)
from analytics.standards.quality_rules import QualityRules
from gateway.contract.quantities import Quantity
from gateway.contract.registry import PoolKind

__all__ = [
    "ClauseStatus",
    "Confirmation",
    "Consequence",
    "Duty",
    "DutyKind",
    "KindRules",
    "Limit",
    "LimitEnd",
    "Profile",
    "ServedBy",
    "Side",
    "Tier",
    "known_profiles",
    "load_profile",
    "read_profile",
    "rules_for",
]

_STANDARDS = Path(__file__).parent
#: Where a profile has no duty of online publication: the age that other cities' systems allow.
_DEFAULT_ONLINE_AGE_MS = 900_000
_DEFAULT_TEST_AGE_MS = 86_400_000
_NO_CHECKS = QualityRules()


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


@dataclass(frozen=True, slots=True)
class Duty:
    """A duty. `before_session_s`: a fact older than this before an opening does not serve that session.

    `from_ms` to `to_ms`: in force; None is open.
    """

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
    from_ms: int | None = None
    to_ms: int | None = None

    @property
    def age_ms(self) -> int:
        """Allowed age of a result: interval and grace."""
        return round((self.interval_s + self.grace_s) * 1000)

    def in_force(self, at_ms: int) -> bool:
        """Whether the duty is in force at an instant."""
        return in_force(self.from_ms, self.to_ms, at_ms)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """How long, and by how much, before a violation counts as begun or ended."""

    confirm_ms: int
    clear_ms: int
    hysteresis: float


@dataclass(frozen=True, eq=False)
class Profile:
    """Limits, duties, confirmation and quality checks under a name. Compared by identity: a file is loaded once.

    `time_zone`: where a date of the file begins.
    """

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
    quality: dict[Quantity, QualityRules] = field(default_factory=dict)
    time_zone: str = "UTC"

    def confirmation(self, quantity: str) -> Confirmation:
        """Confirmation of a quantity; hysteresis in its unit."""
        return Confirmation(
            confirm_ms=round(self.confirm_s * 1000),
            clear_ms=round(self.clear_s * 1000),
            hysteresis=self.hysteresis.get(Quantity(quantity), 0.0),
        )

    def quality_rules(self, quantity: str) -> QualityRules:
        """How readings of a quantity are checked; every check off where the profile says nothing."""
        return self.quality.get(Quantity(quantity), _NO_CHECKS)


class KindRules:
    """What of a profile applies to one kind of pool, looked up once."""

    def __init__(self, profile: Profile, kind: PoolKind) -> None:
        self.limits = tuple(limit for limit in profile.limits if kind in limit.applies_to)
        self.duties = tuple(duty for duty in profile.duties if kind in duty.kinds)
        self._ends: dict[str, tuple[LimitEnd, ...]] = {}
        for limit in self.limits:
            # A recommended limit gives advice, never a verdict; a closure limit is judged although borrowed.
            if limit.binding or limit.tier is Tier.CLOSURE:
                self._ends[limit.quantity] = self._ends.get(limit.quantity, ()) + limit.ends()
        # Of successive editions the newest stands where no instant is asked about.
        self._newest: dict[tuple[DutyKind, str], Duty] = {
            (duty.duty, quantity): duty
            for duty in sorted(self.duties, key=lambda duty: duty.from_ms or 0)
            for quantity in duty.quantities
        }

    def ends(self, quantity: str) -> tuple[LimitEnd, ...]:
        """The limit ends that are judged for a quantity, of every edition: each says from when to when it is in force."""
        return self._ends.get(quantity, ())

    def ends_table(self) -> Mapping[str, tuple[LimitEnd, ...]]:
        """Every limit end that is judged, by quantity; `from_ms`, `to_ms`, `threshold` and the rest are on the ends."""
        return dict(self._ends)

    def operating(self, quantity: str, at_ms: int) -> Limit | None:
        """The operating limit of a quantity that is in force at an instant, binding or recommended."""
        for limit in self.limits:
            if limit.quantity == quantity and limit.tier is Tier.OPERATING and limit.in_force(at_ms):
                return limit
        return None

    def duties_in_force(self, at_ms: int) -> tuple[Duty, ...]:
        """The duties that are in force at an instant."""
        return tuple(duty for duty in self.duties if duty.in_force(at_ms))

    def online_age_ms(self, quantity: str, at_ms: int | None = None) -> int:
        """How old an online value may be and still be in force; without an instant, by the newest edition."""
        duty = self._duty(DutyKind.ONLINE_PUBLICATION, quantity, at_ms)
        return _DEFAULT_ONLINE_AGE_MS if duty is None else duty.age_ms

    def test_duty(self, quantity: str, at_ms: int | None = None) -> Duty | None:
        """The duty of testing a quantity by hand, if there is one; without an instant, by the newest edition."""
        return self._duty(DutyKind.DAILY_TEST, quantity, at_ms)

    def test_age_ms(self, quantity: str, at_ms: int | None = None) -> int:
        """How old a manual or laboratory result may be and still be in force; without an instant, by the newest edition."""
        duty = self._duty(DutyKind.DAILY_TEST, quantity, at_ms)
        return _DEFAULT_TEST_AGE_MS if duty is None else duty.age_ms

    def _duty(self, kind: DutyKind, quantity: str, at_ms: int | None) -> Duty | None:
        if at_ms is None:
            return self._newest.get((kind, quantity))
        for duty in self.duties:
            if duty.duty is kind and quantity in duty.quantities and duty.in_force(at_ms):
                return duty
        return None

    @property
    def longest_age_ms(self) -> int:
        """The largest allowed age of any result: how far facts can reach forward."""
        ages = [duty.age_ms for duty in self.duties if duty.duty is not DutyKind.FULL_TEST]
        return max([*ages, _DEFAULT_TEST_AGE_MS, _DEFAULT_ONLINE_AGE_MS])


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
    return read_profile(_path_of(name_or_path, folder=Path()))


def read_profile(path: Path) -> Profile:
    """Read a profile from a file, whatever it is called; not remembered.

    Raises
    ------
    ProfileError
        With every mistake of the file, each with its line; or why the file cannot be read.
    """
    return _read(path, including=())


def _path_of(name_or_path: str, *, folder: Path) -> Path:
    """A file, from the folder of the one that names it, or a profile of the package."""
    if name_or_path.endswith(".toml"):
        return folder / name_or_path
    if name_or_path in known_profiles():
        return _STANDARDS / f"{name_or_path}.toml"
    raise ProfileError(
        f"there is no profile {name_or_path!r}; known are {', '.join(known_profiles())}, "
        "or give the path of a .toml file"
    )


def _read(path: Path, *, including: tuple[Path, ...]) -> Profile:
    from analytics.standards.profile_file import parse_profile  # it needs the types above

    if path.resolve() in including:
        names = " → ".join(step.name for step in (*including, path))
        raise ProfileError(f"{path} includes itself: {names}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = error.object[error.start]
        raise ProfileError(
            f"{path}: line {line}: byte 0x{found:02x} is not UTF-8; save it as UTF-8"
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ProfileError(f"{path} cannot be read: {reason or error}") from error

    def limits_of(other: str) -> tuple[Limit, ...]:
        found = _path_of(other, folder=path.parent)
        return _read(found, including=(*including, path.resolve())).limits

    return parse_profile(text, place=str(path), limits_of=limits_of)
