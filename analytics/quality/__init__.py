"""Quality of readings in QARTOD's vocabulary: arrays in, flags out. Missing is masked once. Pure."""

from analytics.quality.basic import DROPOUT_ABOVE_MG_L, flags
from analytics.quality.series import look_back_ms, series_flags
from analytics.quality.surroundings import Surroundings, Track, move_times
from analytics.quality.vocabulary import Before, Check, Checked, Flag, Flagged, is_sample, worst

__all__ = [
    "DROPOUT_ABOVE_MG_L",
    "Before",
    "Check",
    "Checked",
    "Flag",
    "Flagged",
    "Surroundings",
    "Track",
    "flags",
    "is_sample",
    "look_back_ms",
    "move_times",
    "series_flags",
    "worst",
]
