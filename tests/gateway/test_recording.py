"""A recording's cells, times, units and zeros, by hand; and a real one of 7,200 rows where it is present."""

import os
from collections import Counter
from pathlib import Path

import pytest

from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading, ReadingStatus
from gateway.contract.times import parse_timestamp
from gateway.errors import InputError
from gateway.recording import ReplayMap, ReplayResult, read_recording, read_replay_map, survey_recording
from gateway.units import conversion

HEAD = """
pool_id = "p1"
gateway_id = "g1"
time_column = "t"
time_format = "%Y-%m-%d %H:%M:%S"
time_zone = "Asia/Shanghai"
"""
CHLORINE = """
[[columns]]
column = "cl"
sensor_id = "fc-1"
quantity = "free_chlorine_mg_l"
"""


def make_map(tmp_path: Path, text: str) -> ReplayMap:
    path = tmp_path / "map.toml"
    path.write_text(text, encoding="utf-8")
    return read_replay_map(path)


def read_all(
    tmp_path: Path, mapping: ReplayMap, text: str
) -> tuple[list[tuple[int, list[Reading]]], ReplayResult]:
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    result = ReplayResult()
    survey = survey_recording(path, mapping)
    rows = list(read_recording(path, mapping, result, interval_s=survey.interval_s))
    assert survey.rows == result.rows
    return rows, result


def chlorine(values: list[str], *, step_s: int = 60) -> str:
    """Rows of one column from 08:00:00 local time."""
    lines = ["t,cl"]
    for index, value in enumerate(values):
        minutes, seconds = divmod(index * step_s, 60)
        lines.append(f"2026-07-01 {8 + minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d},{value}")
    return "\n".join(lines) + "\n"


def statuses(rows: list[tuple[int, list[Reading]]]) -> str:
    """v: a value, d: a dropout."""
    return "".join("d" if reading.value is None else "v" for _, readings in rows for reading in readings)


def test_columns_units_and_local_time(tmp_path: Path) -> None:
    mapping = make_map(
        tmp_path,
        HEAD
        + CHLORINE
        + """
unit = "µg/L"
[[columns]]
column = "temp"
sensor_id = "t-1"
quantity = "water_temp_c"
unit = "F"
[[columns]]
column = "ph"
sensor_id = "ph-1"
quantity = "ph"
""",
    )
    rows, result = read_all(
        tmp_path,
        mapping,
        "t,ph,temp,cl,other\n2026-07-01 08:00:00,7.2,82.4,520,x\n2026-07-01 08:01:00, ,77,,\n",
    )
    assert rows == [
        (
            parse_timestamp("2026-07-01T00:00:00Z"),  # Shanghai is 8 h ahead
            [
                Reading("fc-1", Quantity.FREE_CHLORINE_MG_L, "2026-07-01T00:00:00.000Z", 0.52),
                Reading("t-1", Quantity.WATER_TEMP_C, "2026-07-01T00:00:00.000Z", 28.0),  # (82.4 - 32) / 1.8
                Reading("ph-1", Quantity.PH, "2026-07-01T00:00:00.000Z", 7.2),
            ],
        ),
        (
            parse_timestamp("2026-07-01T00:01:00Z"),
            [Reading("t-1", Quantity.WATER_TEMP_C, "2026-07-01T00:01:00.000Z", 25.0)],
        ),
    ]
    assert (result.rows, result.readings, result.empty_cells, result.problem_count) == (2, 4, 2, 0)


@pytest.mark.parametrize(
    ("unit", "quantity", "given", "expected"),
    [
        ("F", Quantity.WATER_TEMP_C, 212.0, 100.0),
        ("°F", Quantity.WATER_TEMP_C, 32.0, 0.0),
        ("C", Quantity.WATER_TEMP_C, 27.5, 27.5),
        ("K", Quantity.WATER_TEMP_C, 300.15, 27.0),
        ("mg/L", Quantity.FREE_CHLORINE_MG_L, 0.4, 0.4),
        ("ppm", Quantity.FREE_CHLORINE_MG_L, 0.4, 0.4),
        ("ug/L", Quantity.FREE_CHLORINE_MG_L, 400.0, 0.4),
        ("V", Quantity.ORP_MV, 0.7, 700.0),
        ("mS/cm", Quantity.CONDUCTIVITY_US_CM, 2.3, 2300.0),
        ("μS/cm", Quantity.CONDUCTIVITY_US_CM, 2.3, 2.3),
        ("L/s", Quantity.FLOW_M3_H, 10.0, 36.0),
        ("pH", Quantity.PH, 7.2, 7.2),
        (None, Quantity.TURBIDITY_NTU, 0.3, 0.3),
    ],
)
def test_units(unit: str | None, quantity: Quantity, given: float, expected: float) -> None:
    assert conversion(unit, quantity)(given) == expected


@pytest.mark.parametrize(
    ("unit", "quantity"), [("F", Quantity.PH), ("mg/L", Quantity.WATER_TEMP_C), ("x", Quantity.PH)]
)
def test_a_unit_of_another_quantity_is_refused(unit: str, quantity: Quantity) -> None:
    with pytest.raises(InputError, match=f"no unit of {quantity}"):
        conversion(unit, quantity)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0.5", "0", "0", "0.0", "0.5"], "vdddv"),
        (["0.5", "-0.0"], "vd"),
        (["0.21", "0"], "vd"),
        (["0.2", "0"], "vv"),  # above 0.2, not at it
        (["0.5", "0.3", "0.15", "0.05", "0", "0"], "vvvvvv"),  # a decline
        (["0", "0", "0.5"], "vvv"),  # nothing before
        (["0.5", "0", "0.1", "0"], "vdvv"),  # the run has ended
        (["0.5", "", "", "", "0"], "vv"),  # more than one interval before
        (["0.5", "0", "", "0"], "vdd"),  # an empty cell ends no run
    ],
)
def test_an_exact_zero_is_a_dropout_only_right_after_a_reading_above_0_2(
    tmp_path: Path, values: list[str], expected: str
) -> None:
    mapping = make_map(tmp_path, HEAD + "interval_s = 60\n" + CHLORINE)
    rows, result = read_all(tmp_path, mapping, chlorine(values))
    assert statuses(rows) == expected
    assert result.dropouts == expected.count("d")
    for _, readings in rows:
        for reading in readings:
            assert (reading.status is ReadingStatus.FAULT) == (reading.value is None)


def test_the_interval_is_learnt_from_the_rows_where_the_map_gives_none(tmp_path: Path) -> None:
    mapping = make_map(tmp_path, HEAD + CHLORINE)
    rows, _ = read_all(tmp_path, mapping, chlorine(["0.5", "0.5", "0"], step_s=1200))
    assert statuses(rows) == "vvd"
    rows, _ = read_all(tmp_path, mapping, chlorine(["0.5", "0.5", "", "0"], step_s=1200))
    assert statuses(rows) == "vvv"


def test_zeros_that_the_rule_cannot_settle_are_asked_about_before_anything_is_published(
    tmp_path: Path,
) -> None:
    rows_text = chlorine(["0.5", "0.01", "0.01", "0", "0"])
    with pytest.raises(
        InputError, match=r"row 5, column 'cl'.*2 of them.*zero = \"value\" or zero = \"dropout\""
    ):
        read_all(tmp_path, make_map(tmp_path, HEAD + CHLORINE), rows_text)
    for word, expected in (("value", "vvvvv"), ("dropout", "vvvdd")):
        rows, _ = read_all(tmp_path, make_map(tmp_path, f'{HEAD}{CHLORINE}zero = "{word}"\n'), rows_text)
        assert statuses(rows) == expected


def test_the_map_may_say_that_every_zero_is_a_value(tmp_path: Path) -> None:
    mapping = make_map(tmp_path, HEAD + CHLORINE + 'zero = "value"\n')
    rows, _ = read_all(tmp_path, mapping, chlorine(["0.5", "0", "0.5"]))
    assert statuses(rows) == "vvv"


def test_bad_cells_and_rows_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    mapping = make_map(tmp_path, HEAD + CHLORINE)
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b"t,cl\n"
        b"2026-07-01 08:00:00,0.5\n"
        b"2026-07-01 08:01:00,high\n"
        b"2026-13-01 08:02:00,0.5\n"
        b"2026-07-01 08:03:00,inf\n"
        b"2026-07-01 08:04:00,\xff0.5\n"
        b"2026-07-01 08:05:00\n"
        b"2026-07-01 08:06:00,0.6\n"
    )
    result = ReplayResult()
    rows = list(read_recording(path, mapping, result, interval_s=60))
    assert [reading.value for _, readings in rows for reading in readings] == [0.5, 0.6]
    assert [problem.split(":")[0] for problem in result.problems] == [
        "row 3, column 'cl'",
        "row 4, column 't'",
        "row 5, column 'cl'",
        "row 6, column 'cl'",
    ]
    assert (result.rows, result.readings, result.empty_cells, result.problem_count) == (7, 2, 1, 4)


def test_a_cell_too_long_for_csv_costs_its_row(tmp_path: Path) -> None:
    mapping = make_map(tmp_path, HEAD + CHLORINE)
    text = chlorine(["0.5", "9" * 200_000, "0.6"])
    rows, result = read_all(tmp_path, mapping, text)
    assert [reading.value for _, readings in rows for reading in readings] == [0.5, 0.6]
    assert result.problem_count == 1


def test_the_clock_put_forward_and_back(tmp_path: Path) -> None:
    mapping = make_map(tmp_path, HEAD.replace("Asia/Shanghai", "Europe/Berlin") + CHLORINE)
    spring = "t,cl\n2026-03-29 01:30:00,0.5\n2026-03-29 02:30:00,0.5\n2026-03-29 03:30:00,0.5\n"
    rows, result = read_all(tmp_path, mapping, spring)
    assert [at_ms for at_ms, _ in rows] == [
        parse_timestamp("2026-03-29T00:30:00Z"),
        parse_timestamp("2026-03-29T01:30:00Z"),
    ]
    assert result.problem_count == 1
    assert "row 3, column 't': '2026-03-29 02:30:00' does not exist" in result.problems[0]
    autumn = "t,cl\n" + "".join(
        f"2026-10-25 {time},0.5\n"
        for time in ("01:30:00", "02:00:00", "02:30:00", "02:00:00", "02:30:00", "03:00:00")
    )
    rows, result = read_all(tmp_path, mapping, autumn)
    assert [at_ms - rows[0][0] for at_ms, _ in rows] == [step * 1_800_000 for step in range(6)]
    assert ["first" in problem for problem in result.problems] == [True, True, False, False]


def test_milliseconds_and_offsets_are_kept(tmp_path: Path) -> None:
    mapping = make_map(tmp_path, HEAD.replace("%H:%M:%S", "%H:%M:%S.%f%z") + CHLORINE)
    rows, _ = read_all(tmp_path, mapping, "t,cl\n2026-07-01 08:00:00.123+02:00,0.5\n")
    assert rows[0][0] == parse_timestamp("2026-07-01T06:00:00.123Z")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pool_id = ", "Invalid"),
        (HEAD, "columns"),
        (HEAD + CHLORINE + 'colour = "red"', "colour"),
        (HEAD + CHLORINE + 'unit = "F"', "column 'cl'.*no unit"),
        (HEAD + CHLORINE + CHLORINE, "two columns"),
        (HEAD.replace("Asia/Shanghai", "Asia/Nowhere") + CHLORINE, "time zone"),
        (HEAD.replace("p1", "P 1") + CHLORINE, "pool_id"),
    ],
)
def test_a_faulty_map_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_map(tmp_path, text)


def test_a_file_without_a_column_is_explained(tmp_path: Path) -> None:
    mapping = make_map(tmp_path, HEAD + CHLORINE)
    with pytest.raises(InputError, match="no column 'cl'; it has: t, chlorine"):
        read_all(tmp_path, mapping, "t,chlorine\n")
    with pytest.raises(InputError, match="no column 't'"):
        read_all(tmp_path, mapping, "")
    with pytest.raises(InputError):
        survey_recording(tmp_path / "absent.csv", mapping)


STATION_B_MAP = """
pool_id = "p1"
gateway_id = "g1"
time_column = "TimeStep"
time_format = "%m/%d/%Y %H:%M:%S"
time_zone = "America/New_York"
[[columns]]
column = "B_CL2_VAL"
sensor_id = "fc-1"
quantity = "free_chlorine_mg_l"
unit = "mg/L"
ZERO
[[columns]]
column = "B_TEMP_VAL"
sensor_id = "t-1"
quantity = "water_temp_c"
unit = "F"
"""


@pytest.fixture
def station_b() -> Path:
    """The real recording, which is not part of the project."""
    default = Path(__file__).parents[3] / "shared" / "data" / "station_b.csv"
    path = Path(os.environ.get("POOLWATCH_STATION_B", default))
    if not path.exists():
        pytest.skip("station_b.csv is not here; POOLWATCH_STATION_B may name it")
    return path


def test_no_zero_of_station_b_becomes_a_valid_zero(tmp_path: Path, station_b: Path) -> None:
    mapping = make_map(tmp_path, STATION_B_MAP.replace("ZERO", 'zero = "dropout"'))
    result = ReplayResult()
    rows = list(read_recording(station_b, mapping, result, interval_s=1200))
    chlorine_readings = [r for _, readings in rows for r in readings if r.sensor_id == "fc-1"]
    assert result.dropouts == 2055
    assert Counter(reading.status for reading in chlorine_readings)[ReadingStatus.FAULT] == 2055
    assert not any(reading.value == 0.0 for reading in chlorine_readings)
    # 7,200 rows; the three of the hour that the clock skipped on 2006-04-02 are empty ones.
    assert (result.rows, len(rows), result.problem_count) == (7200, 7197, 3)
    assert rows[0][1][1].value == pytest.approx((56.6 - 32) / 1.8, abs=1e-5)


def test_station_b_without_a_word_on_its_zeros_is_asked_about(tmp_path: Path, station_b: Path) -> None:
    # The probe fell from 0.25 to 0.01 in one step and stayed there for a day before it read exactly 0.
    with pytest.raises(InputError, match=r"row 494, column 'B_CL2_VAL'.*2055 of them"):
        survey_recording(station_b, make_map(tmp_path, STATION_B_MAP.replace("ZERO", "")))
