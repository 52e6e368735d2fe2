"""Files that build on others, and mistakes: each is named with its place, and nothing ends in another error."""

from pathlib import Path

import pytest

from analytics.errors import ProfileError
from analytics.standards.profile import load_profile, read_profile
from analytics.standards.profile_file import parse_profile
from tests.analytics.profile_files import Write, limit_table, mistakes_of, writer


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({"comparison": '"rounded"'}, "comparison: is 'rounded', it must be 'full_value' or 0 to 6 decimals"),
        ({"comparison": "0", "low": "7.05"}, "low: 7.05 has more than the 0 decimals"),
        ({"comparison": "true"}, "comparison: is true or false, it must be a text or a whole number"),
        ({"high": "nan"}, "high: is nan, it must be a finite number"),
        ({"high": "78.0"}, "high: is 78, no instrument for ph reports it: it must be 0 to 14"),
        ({"unit": '"mg/L"'}, "unit: is 'mg/L', it must be '', the unit of ph"),
        ({"id": '"pH 7"'}, "id: 'pH 7': small letters"),
        ({"from": "2021-01-01", "to": "2020-01-01"}, "to: is not after `from`"),
        ({"clause": '" "'}, "clause: is empty"),
        ({"applies_to": '["inside"]'}, "applies_to: 'inside' is not known"),
        ({"applies_to": "[3]"}, "applies_to: has a whole number, it must have texts"),
    ],
)
def test_mistakes_of_a_limit(write: Write, keys: dict[str, str], wanted: str) -> None:
    text = mistakes_of(write(limit_table("ph", **keys)))
    assert f"limits[0].{wanted}" in text
    assert ": line " in text


# --- quality --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ("[quality.turbidity]\nspike_fail = 1", "turbidity: is no quantity; did you mean 'turbidity_ntu'?"),
        ("[quality.ph]\nspike = 1", "quality.ph.spike: is not a known key; did you mean `spike_"),
        ("[quality.ph]\nspike_suspect = 'big'", "quality.ph.spike_suspect: is a text, it must be a number"),
        ("[quality.ph]\nspike_suspect = -1", "quality.ph.spike_suspect: is -1, it must be 0 or more"),
        ("[quality.ph]\nflat_line_s = 0", "quality.ph.flat_line_s: is 0, it must be above 0"),
        ("[quality.ph]\nflat_line_needs_flow = 1", "is a whole number, it must be true or false"),
        (
            "[quality.ph]\nspike_suspect = 2\nspike_fail = 1",
            "spike_fail: is 1, it must be `spike_suspect`, 2, or more",
        ),
        ("[quality.ph]\norp_low_mv = 400", "quality.ph.orp_low_mv: is only for orp_mv"),
        (
            "[quality.orp_mv]\norp_low_mv = 400",
            "orp_low_mv: needs both of orp_low_mv and orp_free_chlorine_mg_l",
        ),
        ("[quality]\nph = 3", "quality.ph: is a whole number, it must be a table"),
    ],
)
def test_mistakes_of_a_quality_table(write: Write, rows: str, wanted: str) -> None:
    assert wanted in mistakes_of(write(rows))


def test_a_threshold_of_zero_is_a_threshold(write: Write) -> None:
    profile = read_profile(write("[quality.ph]\nspike_suspect = 0\nneighbour_suspect = 0.0"))
    rules = profile.quality_rules("ph")
    assert (rules.spike_suspect, rules.neighbour_suspect, rules.spike_fail) == (0.0, 0.0, None)


ODD_VALUES = (
    "3",
    "-1",
    "1e400",
    "nan",
    "''",
    "true",
    "[]",
    "[3]",
    "[[1]]",
    "[{}]",
    "{}",
    "{a = 1}",
    "2020-01-01",
    "12:00:00",
)


@pytest.mark.parametrize("name", ["gb9667-1996", "demo"])
def test_whatever_a_key_is_given_the_answer_is_a_list_of_mistakes(
    name: str, pytestconfig: pytest.Config
) -> None:
    path = Path(pytestconfig.rootpath) / "analytics" / "standards" / f"{name}.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    refused = 0
    for number, line in [pair for pair in enumerate(lines) if " = " in pair[1]][:32]:
        key = line.split(" = ")[0]
        for odd in ODD_VALUES:
            text = "\n".join([*lines[:number], f"{key} = {odd}", *lines[number + 1 :]])
            try:
                parse_profile(text, place="own.toml", limits_of=lambda other: load_profile(other).limits)
            except ProfileError as error:
                assert "own.toml: line " in str(error)
                refused += 1
    assert refused > 32 * len(ODD_VALUES) / 2


# --- files that build on others -------------------------------------------------------------------------------------


def test_a_file_builds_on_another_beside_it(write: Write, tmp_path: Path) -> None:
    write(limit_table("ph"), name="base.toml")
    path = write(limit_table("closure", tier='"closure"'), more='limits_of = "base.toml"')
    assert [limit.limit_id for limit in read_profile(path).limits] == ["ph", "closure"]
    assert load_profile(str(tmp_path / "own.toml")).name == "own"


def test_a_file_may_not_include_itself(write: Write) -> None:
    write(name="one.toml", more='limits_of = "two.toml"')
    text = mistakes_of(write(name="two.toml", more='limits_of = ["one.toml"]'))
    assert "includes itself: two.toml → one.toml → two.toml" in text


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ('"shanghai"', "line 8: limits_of: there is no profile 'shanghai'"),
        ('"gone.toml"', "cannot be read: No such file or directory"),
        ("[3]", "limits_of: has a whole number, it must have names or tables"),
        ('[{profile = "gb9667-1996", till = 2020-01-01}]', "limits_of[0].till: is not a known key"),
        ('["gb37488-2019", "changzhou-2022"]', "'free_chlorine' and 'free_chlorine_2019' are both operating"),
    ],
)
def test_mistakes_in_what_a_file_builds_on(write: Write, given: str, wanted: str) -> None:
    assert wanted in mistakes_of(write(more=f"limits_of = {given}"))


def test_mistakes_of_the_other_file_are_named_there(write: Write) -> None:
    other = write(limit_table("ph", low="9.0"), name="base.toml")
    text = mistakes_of(write(more='limits_of = "base.toml"'))
    assert f"limits_of: {other}: line " in text
    assert "limits[0].low: is 9, it must be below `high`, 7.8" in text
