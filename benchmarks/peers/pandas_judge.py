"""The job of `long_rows` in pandas, written twice.

`judge` is the usual idiom: the reading before by group, numbered runs, one `groupby` for their ends. `judge_by_edges`
knows that the rows are sorted by series and needs no group at all: it keeps only the rows at which something changes.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.peers.long_rows import AGE_MS, CLEAR_MS, CONFIRM_MS, GAP_MS, Counts, LongRows

VERSION = str(pd.__version__)
_GAP, _AGE = pd.Timedelta(GAP_MS, "ms"), pd.Timedelta(AGE_MS, "ms")
_CONFIRM, _CLEAR = pd.Timedelta(CONFIRM_MS, "ms"), pd.Timedelta(CLEAR_MS, "ms")
_OUTSIDE, _WELL_INSIDE = 2, 1


@dataclass(frozen=True)
class Tables:
    """Readings sorted by series and time; limits and pool by series; opening intervals by pool."""

    readings: pd.DataFrame
    series: pd.DataFrame
    opening: pd.DataFrame
    begin: pd.Timestamp
    now: pd.Timestamp


def prepare(rows: LongRows) -> Tables:
    """Frames in pandas' own types."""
    readings = pd.DataFrame(
        {"series": rows.series, "at": rows.at_ms.astype("datetime64[ms]"), "value": rows.value}
    )
    series = pd.DataFrame(
        {
            "pool": rows.pool_of,
            "low": rows.low,
            "high": rows.high,
            "low_well": rows.low_well,
            "high_well": rows.high_well,
        }
    )
    opening = pd.DataFrame(
        {
            "pool": rows.opening_pool,
            "opens": rows.opens_ms.astype("datetime64[ms]"),
            "closes": rows.closes_ms.astype("datetime64[ms]"),
        }
    )
    return Tables(
        readings,
        series,
        opening,
        pd.Timestamp(rows.begin_ms, unit="ms"),
        pd.Timestamp(rows.now_ms, unit="ms"),
    )


def judge(tables: Tables) -> Counts:
    """Count exceedances and lapses with groups."""
    readings = tables.readings
    at = readings["at"]
    previous = readings.groupby("series")["at"].shift()
    gap = at - previous > _GAP
    breaks = gap | previous.isna()
    newest = readings.groupby("series")["at"].agg(["first", "last"])
    heads = pd.DataFrame({"series": newest.index, "since": tables.begin, "until": newest["first"].array})
    tails = pd.DataFrame({"series": newest.index, "since": newest["last"].array, "until": tables.now})
    between = pd.DataFrame({"series": readings["series"][gap], "since": previous[gap], "until": at[gap]})
    runs = []
    for side in ("low", "high"):
        state = _state(
            readings["value"],
            side,
            end=readings["series"].map(tables.series[side]),
            well=readings["series"].map(tables.series[f"{side}_well"]),
        )
        run = (breaks | (state != state.shift())).cumsum()
        runs.append(
            readings.assign(state=state)
            .groupby(run)
            .agg(
                series=("series", "first"),
                state=("state", "first"),
                first=("at", "first"),
                last=("at", "last"),
            )
        )
    return _counts(tables, runs, between, heads, tails)


def judge_by_edges(tables: Tables) -> Counts:
    """Count exceedances and lapses with shifts over rows known to be sorted."""
    readings = tables.readings
    series, at = readings["series"], readings["at"]
    first_of_series = series != series.shift()
    previous = at.shift()
    gap = (at - previous > _GAP) & ~first_of_series
    breaks = gap | first_of_series
    last = at[first_of_series.shift(-1, fill_value=True)]
    heads = pd.DataFrame({"series": series[first_of_series], "until": at[first_of_series]})
    heads["since"] = tables.begin
    tails = pd.DataFrame({"series": series[last.index], "since": last, "until": tables.now})
    between = pd.DataFrame({"series": series[gap], "since": previous[gap], "until": at[gap]})
    runs = []
    for side in ("low", "high"):
        state = _state(
            readings["value"],
            side,
            end=tables.series[side].to_numpy()[series],
            well=tables.series[f"{side}_well"].to_numpy()[series],
        )
        starts = breaks | (state != state.shift())
        edges = pd.DataFrame({"series": series[starts], "first": at[starts], "state": state[starts]})
        edges["last"] = previous[starts].shift(-1)
        edges.loc[edges.index[-1], "last"] = at.iloc[-1]
        runs.append(edges)
    return _counts(tables, runs, between, heads, tails)


def _state(value: pd.Series, side: str, *, end: pd.Series, well: pd.Series) -> pd.Series:
    outside = value < end if side == "low" else value > end
    well_inside = value >= well if side == "low" else value <= well
    return pd.Series(np.select([outside, well_inside], [_OUTSIDE, _WELL_INSIDE], 0), dtype="int8")


def _counts(
    tables: Tables, runs: list[pd.DataFrame], between: pd.DataFrame, heads: pd.DataFrame, tails: pd.DataFrame
) -> Counts:
    """From runs by limit end, and silences between, before and after readings."""
    resets = _resets(tables, pd.concat([between, tails[tails["until"] - tails["since"] > _GAP]]))
    far = tables.opening["closes"].max()
    spans = pd.concat([_spans(of_end, resets) for of_end in runs])
    exceeded = _in_open_time(tables, spans.fillna({"until": far}))
    silent = pd.concat([between, heads, tails.assign(until=far)])
    silent["since"] += _AGE
    lapsed = _in_open_time(tables, silent[silent["since"] < silent["until"]])
    return Counts(len(exceeded), _length_ms(exceeded), len(lapsed), _length_ms(lapsed))


def _resets(tables: Tables, gaps: pd.DataFrame) -> pd.DataFrame:
    """When the pool closed first in each gap, where it did."""
    gaps = gaps.assign(pool=tables.series["pool"].to_numpy()[gaps["series"]]).sort_values("since")
    opening = tables.opening.sort_values("opens")
    gaps = pd.merge_asof(gaps, opening, left_on="since", right_on="opens", by="pool")
    gaps["at"] = gaps["closes"].where(gaps["closes"] > gaps["since"], gaps["since"])
    gaps["raises"] = False
    return gaps.loc[gaps["at"] < gaps["until"], ["series", "at", "raises"]]


def _spans(runs: pd.DataFrame, resets: pd.DataFrame) -> pd.DataFrame:
    """From each raise that follows an end to the next end; no `until` where there is none."""
    lasts = runs["last"] - runs["first"]
    raised = runs.loc[(runs["state"] == _OUTSIDE) & (lasts >= _CONFIRM), ["series", "first"]].assign(
        raises=True
    )
    ended = runs.loc[(runs["state"] == _WELL_INSIDE) & (lasts >= _CLEAR), ["series", "first"]].assign(
        raises=False
    )
    events = pd.concat([pd.concat([raised, ended]).rename(columns={"first": "at"}), resets])
    events = events.sort_values(["series", "at"])
    before = events.groupby("series")["raises"].shift(fill_value=False)
    changes = events[events["raises"] != before].copy()
    changes["until"] = changes.groupby("series")["at"].shift(-1)
    return changes.loc[changes["raises"], ["series", "at", "until"]].rename(columns={"at": "since"})


def _in_open_time(tables: Tables, spans: pd.DataFrame) -> pd.DataFrame:
    """Pieces of spans in opening hours that began by now."""
    pieces = spans.assign(pool=tables.series["pool"].to_numpy()[spans["series"]]).merge(
        tables.opening, on="pool"
    )
    pieces["since"] = pieces[["since", "opens"]].max(axis=1)
    pieces["until"] = pieces[["until", "closes"]].min(axis=1)
    pieces = pieces[(pieces["since"] < pieces["until"]) & (pieces["since"] <= tables.now)]
    return pieces.assign(until=pieces["until"].clip(upper=tables.now))


def _length_ms(pieces: pd.DataFrame) -> int:
    return int((pieces["until"] - pieces["since"]).sum() // pd.Timedelta(1, "ms"))


#: By what is said of them in the table; the first is what a user would write.
VARIANTS = {"runs by groupby": judge, "edges of sorted rows": judge_by_edges}
