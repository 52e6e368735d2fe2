"""A chlorine probe's exact zeros: a lost signal, or water without chlorine."""

from dataclasses import dataclass

#: A chlorine probe that read more than this and then exactly zero lost its signal; water does not do that. [mg/L]
DROPOUT_ABOVE_MG_L = 0.2
#: What probes with two decimals read when they see nothing. [mg/L]
_ALMOST_ZERO_MG_L = 0.02


@dataclass(slots=True)
class ZeroWatch:
    """Tells a probe's dropout from a decline to zero, reading by reading.

    An exact zero begins a dropout if the reading before was above 0.2 mg/L and at most one interval older; the zeros
    that follow it belong to it. `unsettled`: the last reading was a zero that is a value by this rule, but came after
    a fall from above 0.2 mg/L to almost zero within one interval, which water hardly does either.
    """

    interval_ms: float
    last_value: float | None = None
    last_ms: int = 0
    dropped: bool = False
    unsettled: bool = False
    _fell: bool = False

    def is_dropout(self, value: float, at_ms: int) -> bool:
        """Whether the next reading is part of a dropout. [mg/L, ms]"""
        from_high = (
            self.last_value is not None
            and self.last_value > DROPOUT_ABOVE_MG_L
            and at_ms - self.last_ms <= self.interval_ms
        )
        self._fell = value <= _ALMOST_ZERO_MG_L and (self._fell or from_high)
        self.dropped = value == 0.0 and (from_high or (self.dropped and self.last_value == 0.0))
        self.unsettled = value == 0.0 and not self.dropped and self._fell
        self.last_value, self.last_ms = value, at_ms
        return self.dropped
