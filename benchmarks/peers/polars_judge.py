"""The job of `long_rows` in polars, written twice, both in lazy expressions.

`judge` is the usual idiom: the reading before `over` the series, numbered runs, one `group_by` for their ends.
`judge_by_edges` knows that the rows are sorted by series and needs no group at all: it keeps only the rows at which
something changes.
"""

from dataclasses import dataclass

import polars as pl

from benchmarks.peers.long_rows import AGE_MS, CLEAR_MS, CONFIRM_MS, GAP_MS, Counts, LongRows

VERSION = str(pl.__version__)
_GAP, _AGE = pl.duration(milliseconds=GAP_MS), pl.duration(milliseconds=AGE_MS)
_CONFIRM, _CLEAR = pl.duration(milliseconds=CONFIRM_MS), pl.duration(milliseconds=CLEAR_MS)
_OUTSIDE, _WELL_INSIDE = 2, 1
_TIME = pl.Datetime("ms")


@dataclass(frozen=True)
class Tables:
    """Readings sorted by series and time; limits and pool by series; opening intervals by pool."""

    readings: pl.DataFrame
    series: pl.DataFrame
    opening: pl.DataFrame
    begin_ms: int
    now_ms: int


def prepare(rows: LongRows) -> Tables:
    """Frames in polars' own types."""
    readings = pl.DataFrame({"series": rows.series, "at": rows.at_ms, "value": rows.value})
    series = pl.DataFrame(
        {
            "series": pl.Series(range(len(rows.pool_of)), dtype=pl.Int32),
            "pool": rows.pool_of,
            "low": rows.low,
            "high": rows.high,
            "low_well": rows.low_well,
            "high_well": rows.high_well,
        }
    ).fill_nan(None)
    opening = pl.DataFrame({"pool": rows.opening_pool, "opens": rows.opens_ms, "closes": rows.closes_ms})
    return Tables(
        readings.with_columns(pl.col("at").cast(_TIME)).set_sorted("series"),
        series.set_sorted("series"),
        opening.with_columns(pl.col("opens", "closes").cast(_TIME)),
        rows.begin_ms,
        rows.now_ms,
    )


def _state(side: str) -> pl.Expr:
    value, end, well = pl.col("value"), pl.col(side), pl.col(f"{side}_well")
    low = side == "low"
    return (
        pl.when(value < end if low else value > end)
        .then(_OUTSIDE)
        .when(value >= well if low else value <= well)
        .then(_WELL_INSIDE)
        .otherwise(0)
        .cast(pl.Int8)
    )


def judge(tables: Tables) -> Counts:
    """Count exceedances and lapses with groups."""
    previous = pl.col("at").shift().over("series")
    judged = (
        tables.readings.lazy()
        .join(tables.series.lazy(), on="series", how="left", maintain_order="left")
        .select(
            "series",
            "at",
            previous.alias("previous"),
            _state("low").alias("low"),
            _state("high").alias("high"),
        )
        .with_columns((pl.col("at") - pl.col("previous") > _GAP).alias("gap"))
    )
    runs = [
        judged.with_columns(
            (pl.col("gap").fill_null(True) | (pl.col(side) != pl.col(side).shift())).cum_sum().alias("run")
        )
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("series").first(),
            pl.col(side).first().alias("state"),
            pl.col("at").first(),
            pl.col("at").last().alias("last"),
        )
        for side in ("low", "high")
    ]
    between = judged.filter("gap").select(
        "series", pl.col("previous").alias("since"), pl.col("at").alias("until")
    )
    bounds = (
        tables.readings.lazy()
        .group_by("series")
        .agg(pl.col("at").first().alias("first"), pl.col("at").last().alias("last"))
    )
    low, high, gaps, ends = pl.collect_all([*runs, between, bounds])
    begin = pl.lit(tables.begin_ms).cast(_TIME)
    return _counts(
        tables,
        [low, high],
        gaps,
        ends.select("series", begin.alias("since"), pl.col("first").alias("until")),
        ends.select("series", pl.col("last").alias("since")),
    )


def judge_by_edges(tables: Tables) -> Counts:
    """Count exceedances and lapses with shifts over rows known to be sorted."""
    edges = (
        tables.readings.lazy()
        .join(tables.series.lazy(), on="series", how="left", maintain_order="left")
        .select(
            "series",
            "at",
            pl.col("series").ne_missing(pl.col("series").shift()).alias("first"),
            pl.col("at").shift().alias("previous"),
            _state("low").alias("low"),
            _state("high").alias("high"),
        )
        .with_columns(
            (~pl.col("first") & (pl.col("at") - pl.col("previous") > _GAP)).alias("gap"),
            pl.col("low").ne_missing(pl.col("low").shift()).alias("low_changed"),
            pl.col("high").ne_missing(pl.col("high").shift()).alias("high_changed"),
        )
        .filter(pl.col("first") | pl.col("gap") | pl.col("low_changed") | pl.col("high_changed"))
        .collect()
    )
    newest = tables.readings["at"][-1]
    before_next = pl.col("previous").shift(-1).fill_null(newest)
    runs = [
        edges.filter(pl.col("first") | pl.col("gap") | pl.col(f"{side}_changed")).select(
            "series", "at", pl.col(side).alias("state"), before_next.alias("last")
        )
        for side in ("low", "high")
    ]
    firsts = edges.filter("first")
    begin = pl.lit(tables.begin_ms).cast(_TIME)
    return _counts(
        tables,
        runs,
        edges.filter("gap").select("series", pl.col("previous").alias("since"), pl.col("at").alias("until")),
        firsts.select("series", begin.alias("since"), pl.col("at").alias("until")),
        firsts.select("series", before_next.alias("since")),
    )


def _counts(
    tables: Tables, runs: list[pl.DataFrame], between: pl.DataFrame, heads: pl.DataFrame, tails: pl.DataFrame
) -> Counts:
    """From runs by limit end, and silences between, before and after readings."""
    now, far = pl.lit(tables.now_ms).cast(_TIME), pl.lit(tables.opening["closes"].max()).cast(_TIME)
    late = tails.with_columns(now.alias("until")).filter(pl.col("until") - pl.col("since") > _GAP)
    resets = _resets(tables, pl.concat([between, late]))
    spans = pl.concat([_spans(of_end, resets) for of_end in runs])
    exceeded = _in_open_time(tables, spans.with_columns(pl.col("until").fill_null(far)), now)
    silent = (
        pl.concat([between, heads, tails.with_columns(far.alias("until"))])
        .with_columns(pl.col("since") + _AGE)
        .filter(pl.col("since") < pl.col("until"))
    )
    lapsed = _in_open_time(tables, silent, now)
    return Counts(len(exceeded), _length_ms(exceeded), len(lapsed), _length_ms(lapsed))


def _resets(tables: Tables, gaps: pl.DataFrame) -> pl.DataFrame:
    """When the pool closed first in each gap, where it did."""
    closed = pl.when(pl.col("closes") > pl.col("since")).then("closes").otherwise("since")
    return (
        gaps.join(tables.series.select("series", "pool"), on="series")
        .sort("since")
        .join_asof(
            tables.opening.sort("opens"),
            left_on="since",
            right_on="opens",
            by="pool",
            check_sortedness=False,
        )
        .select("series", "until", closed.alias("at"), pl.lit(False).alias("raises"))
        .filter(pl.col("at") < pl.col("until"))
        .select("series", "at", "raises")
    )


def _spans(runs: pl.DataFrame, resets: pl.DataFrame) -> pl.DataFrame:
    """From each raise that follows an end to the next end; no `until` where there is none."""
    raises = pl.col("state") == _OUTSIDE
    lasts = pl.col("last") - pl.col("at")
    confirmed = (raises & (lasts >= _CONFIRM)) | ((pl.col("state") == _WELL_INSIDE) & (lasts >= _CLEAR))
    events = pl.concat([runs.filter(confirmed).select("series", "at", raises.alias("raises")), resets])
    return (
        events.sort("series", "at")
        .filter(pl.col("raises") != pl.col("raises").shift(fill_value=False).over("series"))
        .with_columns(pl.col("at").shift(-1).over("series").alias("until"))
        .filter("raises")
        .select("series", pl.col("at").alias("since"), "until")
    )


def _in_open_time(tables: Tables, spans: pl.DataFrame, now: pl.Expr) -> pl.DataFrame:
    """Pieces of spans in opening hours that began by now."""
    return (
        spans.lazy()
        .join(tables.series.lazy().select("series", "pool"), on="series")
        .join(tables.opening.lazy(), on="pool")
        .with_columns(
            pl.max_horizontal("since", "opens").alias("since"),
            pl.min_horizontal("until", "closes").alias("until"),
        )
        .filter((pl.col("since") < pl.col("until")) & (pl.col("since") <= now))
        .with_columns(pl.min_horizontal("until", now).alias("until"))
        .collect()
    )


def _length_ms(pieces: pl.DataFrame) -> int:
    return int(pieces.select((pl.col("until") - pl.col("since")).dt.total_milliseconds().sum()).item())


#: By what is said of them in the table; the first is what a user would write.
VARIANTS = {"runs by group_by": judge, "edges of sorted rows": judge_by_edges}
