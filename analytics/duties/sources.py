"""Which facts of a window serve a duty of a quantity (DESIGN 12.4, 12.6, 12.11). Pure."""

from collections.abc import Sequence

import numpy as np

from analytics.duties.facts import FactPart, corrected_at_ms, corrected_part, ending
from analytics.duties.posting import Displays, board_parts, screen_parts
from analytics.series import OnlineSeries, SampleSeries
from analytics.spans import FAR_MS, Instants
from analytics.standards.profile import Duty, DutyKind, ServedBy
from analytics.window import Window
from ingest.store.records import StatusCode


def tested_parts(
    window: Window,
    duty: Duty,
    quantity: str,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
) -> list[FactPart]:
    """Good readings that serve, by sensor: of people, and of probes where the profile lets them."""
    corrections = window.entries.corrections
    by_people = {ServedBy.MANUAL, ServedBy.LABORATORY} & duty.served_by
    # Testing is done when it is done, however late the message: nobody is blamed for the network.
    parts = [
        corrected_part(
            FactPart(
                found.kind,
                found.key.sensor_id,
                found.good.measured_at_ms,
                found.good.measured_at_ms,
                window.rules.longest_age_ms,
            ),
            corrections,
            found.key,
        )
        for found in samples
        if found.key.quantity == quantity and found.kind in by_people
    ]
    if ServedBy.ONLINE not in duty.served_by:
        return parts
    # Online monitoring means that the values arrive; a sensor that may serve tests only has to measure.
    arrives = duty.duty is DutyKind.ONLINE_MONITORING
    return parts + [
        corrected_part(
            FactPart(
                ServedBy.ONLINE,
                series.key.sensor_id,
                series.good.stored_at_ms if arrives else series.good.measured_at_ms,
                series.good.measured_at_ms,
                window.rules.online_age_ms(quantity),
            ),
            corrections,
            series.key,
        )
        for series in online
        if series.key.quantity == quantity
    ]


def published_parts(
    window: Window, quantity: str, online: Sequence[OnlineSeries], displays: Displays
) -> list[FactPart]:
    """Publications of a result; publishing no value, or one that is not good, is not publishing a result.

    A correction ends what it refers to from its own time on: a reading in every publication of it, or a publication,
    by its hash, as a whole.
    """
    bad = {series.key: series.bad_times for series in online if series.bad_times}
    withdrawn_at: dict[int, int] = {}
    for correction in window.entries.corrections:
        for row in displays.published.get(correction.refers_to, ()):
            at_ms = row.published_at_ms
            withdrawn_at[at_ms] = min(correction.at_ms, withdrawn_at.get(at_ms, FAR_MS))
    parts = []
    for key, columns in window.publications.items():
        if key.quantity != quantity:
            continue
        counts = (columns.status <= StatusCode.LABORATORY) & ~np.isnan(columns.value)
        if key in bad:
            counts &= ~np.isin(columns.measured_at_ms, list(bad[key]))
        at = columns.published_at_ms[counts]
        part = FactPart(
            ServedBy.PUBLICATION,
            key.sensor_id,
            at,
            columns.measured_at_ms[counts],
            window.rules.online_age_ms(quantity),
        )
        if withdrawn_at:
            ends = [withdrawn_at.get(at_ms, FAR_MS) for at_ms in at.tolist()]
            part = ending(part, np.array(ends, dtype=np.int64))
        parts.append(corrected_part(part, window.entries.corrections, key))
    return parts


def posted_parts(
    window: Window, duty: Duty, quantity: str, online: Sequence[OnlineSeries], displays: Displays
) -> tuple[list[FactPart], Instants]:
    """What was posted in the venue, and when a screen was seen there, whatever it showed. [ms]"""
    corrections = window.entries.corrections
    parts = []
    for part in board_parts(window.entries.postings, duty=duty, quantity=quantity):
        ends = corrected_at_ms(
            corrections, quantity=quantity, sensor_id=None, measured_at_ms=part.measured_at_ms
        )
        parts.append(part if ends is None else ending(part, ends))
    screens, seen = screen_parts(
        displays,
        quantity=quantity,
        rules=window.rules,
        bad_times={series.key: series.bad_times for series in online},
        corrections=corrections,
        age_ms=duty.age_ms,
    )
    return parts + screens, seen
