"""The job of `long_rows` in DuckDB: one window over the readings, then common table expressions over the edges of runs."""

from dataclasses import dataclass

import duckdb
import numpy as np

from benchmarks.peers.long_rows import AGE_MS, CLEAR_MS, CONFIRM_MS, GAP_MS, Counts, LongRows

VERSION = str(duckdb.__version__)

_EDGES = f"""
CREATE OR REPLACE TEMP TABLE edges AS
WITH judged AS (
    SELECT series, measured_at,
        CASE WHEN value < low THEN 2 WHEN value >= low_well THEN 1 ELSE 0 END::TINYINT AS low_state,
        CASE WHEN value > high THEN 2 WHEN value <= high_well THEN 1 ELSE 0 END::TINYINT AS high_state
    FROM readings JOIN series USING (series)
), stepped AS (
    SELECT *,
        lag(measured_at) OVER by_time AS previous,
        lag(low_state) OVER by_time AS low_before,
        lag(high_state) OVER by_time AS high_before
    FROM judged
    WINDOW by_time AS (PARTITION BY series ORDER BY measured_at)
)
SELECT *, previous IS NULL AS first, coalesce(measured_at - previous > {GAP_MS}, false) AS gap
FROM stepped
WHERE previous IS NULL OR measured_at - previous > {GAP_MS} OR low_state <> low_before OR high_state <> high_before
"""

_JUDGE = f"""
WITH lasts AS (
    SELECT series, max(measured_at) AS last_at FROM readings GROUP BY series
), gaps AS (
    SELECT series, previous AS since, measured_at AS until FROM edges WHERE gap
    UNION ALL
    SELECT series, last_at, $now FROM lasts WHERE $now - last_at > {GAP_MS}
), closed AS (
    SELECT series, until, CASE WHEN closes > since THEN closes ELSE since END AS measured_at
    FROM (SELECT * FROM gaps JOIN series USING (series)) AS placed
    ASOF LEFT JOIN opening ON placed.pool = opening.pool AND placed.since >= opening.opens
), starts AS (
    SELECT series, 'low' AS side, low_state AS state, measured_at, previous FROM edges
    WHERE first OR gap OR low_state <> low_before
    UNION ALL
    SELECT series, 'high', high_state, measured_at, previous FROM edges
    WHERE first OR gap OR high_state <> high_before
), runs AS (
    SELECT series, side, state, measured_at, coalesce(
        lead(previous) OVER (PARTITION BY series, side ORDER BY measured_at), last_at
    ) - measured_at AS length
    FROM starts JOIN lasts USING (series)
), events AS (
    SELECT series, side, measured_at, state = 2 AS raises FROM runs
    WHERE (state = 2 AND length >= {CONFIRM_MS}) OR (state = 1 AND length >= {CLEAR_MS})
    UNION ALL
    SELECT series, side, measured_at, false FROM closed CROSS JOIN (VALUES ('low'), ('high')) AS sides(side)
    WHERE measured_at < until
), changes AS (
    SELECT series, side, measured_at, raises FROM events
    QUALIFY raises <> lag(raises, 1, false) OVER (PARTITION BY series, side ORDER BY measured_at)
), spans AS (
    SELECT *, lead(measured_at) OVER (PARTITION BY series, side ORDER BY measured_at) AS until FROM changes
), found AS (
    SELECT 'exceedance' AS kind, series, measured_at AS since, coalesce(until, $far) AS until FROM spans WHERE raises
    UNION ALL
    SELECT 'lapse', series, previous + {AGE_MS}, measured_at FROM edges WHERE gap AND measured_at - previous > {AGE_MS}
    UNION ALL
    SELECT 'lapse', series, $begin + {AGE_MS}, measured_at FROM edges WHERE first
    UNION ALL
    SELECT 'lapse', series, last_at + {AGE_MS}, $far FROM lasts
), pieces AS (
    SELECT kind, greatest(since, opens) AS since, least(until, closes) AS until
    FROM found JOIN series USING (series) JOIN opening USING (pool)
    WHERE opens < until AND closes > since AND since < until
)
SELECT
    count(*) FILTER (kind = 'exceedance'),
    coalesce(sum(least(until, $now) - since) FILTER (kind = 'exceedance'), 0),
    count(*) FILTER (kind = 'lapse'),
    coalesce(sum(least(until, $now) - since) FILTER (kind = 'lapse'), 0)
FROM pieces WHERE since <= $now
"""


@dataclass(frozen=True)
class Tables:
    """A connection to a database in memory with tables `readings`, `series` and `opening`; times as integers. [ms]"""

    connection: duckdb.DuckDBPyConnection
    begin_ms: int
    now_ms: int
    far_ms: int


def prepare(rows: LongRows) -> Tables:
    """Tables in DuckDB's own storage, readings in the order of series and time; one thread."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    readings = {"series": rows.series, "measured_at": rows.at_ms, "value": rows.value}
    series = {
        "series": np.arange(len(rows.pool_of), dtype=np.int32),
        "pool": rows.pool_of,
        "low": rows.low,
        "high": rows.high,
        "low_well": rows.low_well,
        "high_well": rows.high_well,
    }
    opening = {"pool": rows.opening_pool, "opens": rows.opens_ms, "closes": rows.closes_ms}
    for name, columns in (("readings", readings), ("series", series), ("opening", opening)):
        connection.register("given", columns)
        # A NaN compares as the largest number in DuckDB: an absent end has to be NULL.
        ends = " REPLACE (" + ", ".join(f"nullif({end}, 'nan'::FLOAT) AS {end}" for end in _ENDS) + ")"
        connection.execute(f"CREATE TABLE {name} AS SELECT *{ends if name == 'series' else ''} FROM given")
        connection.unregister("given")
    return Tables(connection, rows.begin_ms, rows.now_ms, int(rows.closes_ms.max()))


_ENDS = ("low", "high", "low_well", "high_well")


def judge(tables: Tables) -> Counts:
    """Count exceedances and lapses."""
    tables.connection.execute(_EDGES)
    row = tables.connection.execute(
        _JUDGE, {"now": tables.now_ms, "begin": tables.begin_ms, "far": tables.far_ms}
    ).fetchone()
    assert row is not None
    return Counts(*(int(figure) for figure in row))


#: By what is said of it in the table.
VARIANTS = {"windows": judge}
