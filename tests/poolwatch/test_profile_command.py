"""`poolwatch profile`: every fault of a file is one clear line and code 1; a good file is summed up."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from analytics.standards.profile import known_profiles
from poolwatch.profile_command import profile_app

GOOD = """
schema = 1
name = "own"
title_zh = "自定"
title_en = "Our own"
notice = true
grid_step_s = 60
time_zone = "Asia/Shanghai"
[confirmation]
confirm_s = 300
clear_s = 90
[[limits]]
id = "ph_new"
quantity = "ph"
low = 7.0
low_closed = false
high = 7.8
high_closed = true
unit = ""
standard = "Standard X"
edition = "2020"
clause = "4.2"
clause_status = "second_hand"
source = "a copy"
binding = true
tier = "operating"
applies_to = ["indoor", "spa"]
comparison = 1
from = 2020-01-01
to = 2030-01-01T12:30:00+08:00
consequence = "none"
[[duties]]
duty = "daily_test"
quantities = ["ph"]
interval_s = 7200
grace_s = 1800
served_by = ["manual"]
standard = "Order Y"
edition = "2021"
clause = "Art. 1"
clause_status = "read"
source = "read"
consequence = "order_to_correct_then_fine"
[quality.ph]
spike_suspect = 0.5
"""


def run(*words: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(profile_app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_good_file_is_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "profile of ours"
    path.write_text(GOOD, encoding="utf-8")
    code, out, err = run("check", path)
    assert (code, err) == (0, "")
    for wanted in (
        "own: Our own / 自定",
        "every page says",
        "confirmed after 5 min, cleared after 90 s",
        "> 7 and ≤ 7.8, compared with 1 decimal  operating, binding; indoor, spa; from 2020-01-01",
        "until before 2030-01-01 12:30:00 (Asia/Shanghai)",
        "Standard X, edition 2020: 4.2",
        "second_hand: a copy; consequence: none",
        "daily_test of ph: every 2 h and 30 min of grace; all pools; no dates",
        "Order Y, edition 2021: Art. 1",
        "ph: spike_suspect 0.5",
        f"{path}: no mistake",
    ):
        assert wanted in out, f"{wanted!r} is not in:\n{out}"


def test_every_mistake_has_its_line_table_key_and_what_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    low, tier = "low = 8.0", 'tier = "operatin"'
    wrong = GOOD.replace("low = 7.0", low).replace('tier = "operating"', tier)
    wrong = wrong.replace("interval_s = 7200\n", "") + "spike = 1\n"
    path.write_text(wrong, encoding="utf-8")
    code, out, err = run("check", path)
    assert (code, out) == (1, "")
    at = {line: number for number, line in enumerate(wrong.splitlines(), start=1)}
    expected = [
        f"line {at[low]}: limits[0].low: is 8, it must be below `high`, 7.8",
        f"line {at[tier]}: limits[0].tier: 'operatin' is not known; did you mean 'operating'?; known: operating, closure",
        f"line {at['[[duties]]']}: duties[0]: `interval_s` is missing",
        f"line {at['spike = 1']}: quality.ph.spike: is not a known key; did you mean `",
    ]
    found = err.splitlines()
    assert len(found) == len(expected) + 1
    for line, wanted in zip(found, expected, strict=False):
        assert line.startswith(f"{path}: {wanted}")
    assert found[-1] == "4 mistakes"


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"schema = 1\nname = \xff\n", "line 2: byte 0xff is not UTF-8"),
        (b"schema = 1\nname = \n", "not TOML: Invalid value (at line 2, column 8)"),
        (b"[" * 3000, "not TOML"),
        (b"", "`schema` is missing"),
        (b"\xef\xbb\xbfschema = 2\r\n", "line 1: schema: is 2, this version reads 1"),
        (b'schema = 1\nlimits_of = "self.toml"', "includes itself"),
        (
            b"schema = 1\nlimits = 3\nduties = [3]\nquality = []",
            "limits: is a whole number, it must be a list",
        ),
        (b'schema = 1\ntime_zone = "Mars"', "time_zone: 'Mars' is no time zone"),
    ],
)
def test_no_file_ends_in_a_traceback(tmp_path: Path, content: bytes, wanted: str) -> None:
    path = tmp_path / "self.toml"
    path.write_bytes(content)
    code, _, err = run("check", path)
    assert code == 1
    assert wanted in err


def test_what_is_no_readable_file(tmp_path: Path) -> None:
    assert run("check", tmp_path) == (1, "", f"{tmp_path} cannot be read: Is a directory\n")
    gone = tmp_path / "gone.toml"
    assert run("check", gone) == (1, "", f"{gone} cannot be read: No such file or directory\n")


def test_the_shipped_profiles_are_listed_and_shown() -> None:
    code, out, _ = run("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == known_profiles()
    for name in known_profiles():
        code, out, _ = run("show", name)
        assert code == 0
        assert out.startswith(f"{name}: ")
    assert run("show", "shanghai")[0] == 1
