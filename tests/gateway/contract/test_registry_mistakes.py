"""Mistakes of a registry file: each is told, with its line."""

import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.credentials import Credential, Credentials, parse_credentials, render_credentials
from gateway.contract.errors import ContractError, RegistryError
from gateway.contract.quantities import Quantity
from gateway.contract.registry import Grade, PoolKind
from gateway.contract.registry_file import parse_registry

GOOD = """\
schema = 1

[venues.qingfeng]
name_zh = "清枫游泳馆"
name_en = "Qingfeng Natatorium"
district = "天宁区"
position = [31.78, 119.97]
grade = {grade="A", issuer="常州市卫生健康委员会", issued_on=2026-03-01}

[pools.qf-main]
venue = "qingfeng"
name_zh = "主池"
name_en = "Main pool"
kind = "indoor"
volume_m3 = 1250.0
opening_hours = [
  {hours = "Mo-Su 06:00-22:00"},
  {from = 2026-09-01, hours = "Mo-Fr 06:00-21:00"},
]
time_zone = "Asia/Shanghai"
profile = "changzhou-2022"
from = 2026-03-01T08:00:00+08:00

[[pools.qf-main.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 60
calibrated_on = 2026-02-20
until = 2026-06-01

[[pools.qf-main.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 30
from = 2026-06-01

[gateways.gw-1]
pools = ["qf-main"]

[displays.door]
pool = "qf-main"
"""


def test_good_file() -> None:
    registry = parse_registry(GOOD)
    venue, pool = registry.venues["qingfeng"], registry.pools["qf-main"]
    assert (venue.latitude, venue.longitude) == (31.78, 119.97)
    assert venue.grade == Grade("A", "常州市卫生健康委员会", date(2026, 3, 1))
    assert pool.kind is PoolKind.INDOOR
    assert pool.from_ms == 1_772_323_200_000  # 2026-03-01T00:00:00Z
    # Midnight of 1 September in Shanghai is 16:00 UTC of 31 August.
    assert [hours.from_ms for hours in pool.opening] == [None, 1_788_192_000_000]
    assert [sensor.interval_s for sensor in pool.sensors] == [60.0, 30.0]
    assert pool.sensors[0].until_ms == pool.sensors[1].from_ms == 1_780_243_200_000
    assert pool.sensors[0].quantity is Quantity.FREE_CHLORINE_MG_L
    assert registry.gateways["gw-1"].pools == {"qf-main"}
    assert registry.displays["door"].pool_id == "qf-main"
    assert registry.venue_of(pool) is venue
    assert re.fullmatch("[0-9a-f]{64}", registry.sha256)
    assert parse_registry(GOOD + "\n").sha256 != registry.sha256


def _line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


# What is replaced, by what, and words of the mistake; its line is that of the replacement.
MISTAKES = {
    "syntax": ('kind = "indoor"', 'kind = "indoor', ""),
    "schema number": ("schema = 1", "schema = 2", "2"),
    "schema is text": ("schema = 1", 'schema = "1"', ""),
    "unknown top-level key": ("schema = 1\n", "schema = 1\nvenus = 3\n", "venue"),
    "unknown key": ("volume_m3 = 1250.0", "volume = 1250.0", "volume_m3"),
    "unknown key in grade": ('issuer="常', 'isuer="常', "issuer"),
    "unknown venue": ('venue = "qingfeng"', 'venue = "qingfen"', "qingfeng"),
    "unknown pool of gateway": ('pools = ["qf-main"]', 'pools = ["qf-man"]', "qf-main"),
    "gateway's pool is no text": ('pools = ["qf-main"]', "pools = [7]", ""),
    "gateway's pool is a list": ('pools = ["qf-main"]', 'pools = [["qf-main"]]', ""),
    "gateway without pools": ('pools = ["qf-main"]', "pools = []", ""),
    "gateway names a pool twice": ('pools = ["qf-main"]', 'pools = ["qf-main", "qf-main"]', "twice"),
    "unknown pool of display": ('pool = "qf-main"', 'pool = "main"', ""),
    "bad id": ("[displays.door]", "[displays.Door]", "lower-case"),
    "bad id, quoted with newline": ("[displays.door]", '[displays."door\\n"]', "lower-case"),
    "bad sensor id": ('id = "fc-1"', 'id = "FC_1"', "lower-case"),
    "sensor id manual": ('id = "fc-1"', 'id = "manual"', "manual"),
    "bad quantity": ('quantity = "free_chlorine_mg_l"', 'quantity = "chlorine"', "water_temp_c"),
    "bad kind": ('kind = "indoor"', 'kind = "indor"', "did you mean 'indoor'?"),
    "opening hours": ('hours = "Mo-Su 06:00-22:00"', 'hours = "Mo-Su 0600-22:00"', "character"),
    "opening hours empty": ('hours = "Mo-Su 06:00-22:00"', 'hours = ""', ""),
    "second opening hours": ('hours = "Mo-Fr 06:00-21:00"', 'hours = "Mo-Fr 06:00-xx"', "character"),
    "opening hours unknown": (
        'hours = "Mo-Fr 06:00-21:00"',
        'hours = "Mo-Fr 06:00-21:00 unknown"',
        "unknown",
    ),
    "opening hours by the sun": ('hours = "Mo-Fr 06:00-21:00"', 'hours = "sunrise-sunset"', "sun"),
    "opening hours in school holidays": ('hours = "Mo-Fr 06:00-21:00"', 'hours = "SH 10:00-21:00"', "school"),
    "opening hours without end": ('hours = "Mo-Fr 06:00-21:00"', 'hours = "Mo-Fr 06:00+"', "end"),
    "second opening hours without from": ("{from = 2026-09-01, hours", "{hours", "from"),
    "time zone": ('time_zone = "Asia/Shanghai"', 'time_zone = "Asia/Shangai"', "Shanghai"),
    "time zone out of the folder": ('time_zone = "Asia/Shanghai"', 'time_zone = "../../etc/passwd"', ""),
    "time zone empty": ('time_zone = "Asia/Shanghai"', 'time_zone = ""', ""),
    "profile": ('profile = "changzhou-2022"', 'profile = "Chang zhou"', ""),
    "interval 0": ("interval_s = 60", "interval_s = 0", "above 0"),
    "interval not a number": ("interval_s = 60", "interval_s = nan", ""),
    "interval infinite": ("interval_s = 60", "interval_s = inf", ""),
    "interval true": ("interval_s = 60", "interval_s = true", ""),
    "volume negative": ("volume_m3 = 1250.0", "volume_m3 = -1", "above 0"),
    "volume nan": ("volume_m3 = 1250.0", "volume_m3 = nan", ""),
    "position swapped": ("position = [31.78, 119.97]", "position = [119.97, 31.78]", "latitude"),
    "position of three": ("position = [31.78, 119.97]", "position = [31.78, 119.97, 4]", ""),
    "position nan": ("position = [31.78, 119.97]", "position = [nan, 119.97]", ""),
    "position true": ("position = [31.78, 119.97]", "position = [true, 119.97]", ""),
    "until before from": ("interval_s = 60\n", "interval_s = 60\nfrom = 2026-07-01\n", "from"),
    "naive instant": ("from = 2026-03-01T08:00:00+08:00", "from = 2026-03-01T08:00:00", "offset"),
    "instant is text": ("from = 2026-03-01T08:00:00+08:00", 'from = "2026-03-01"', ""),
    "calibration date with time": ("calibrated_on = 2026-02-20", "calibrated_on = 2026-02-20T08:00:00Z", ""),
    "overlapping sensors": ("until = 2026-06-01\n", "until = 2026-06-02\n", "twice"),
    "pools is no table": ("[displays.door]\npool = ", "[displays]\ndoor = ", ""),
}
# Mistakes of a table, or of two, are told at its header or at the later one.
_ELSEWHERE = {
    "until before from": "until = 2026-06-01",
    "overlapping sensors": 'id = "fc-1"\nquantity = "free_chlorine_mg_l"\nplace = "return"\ninterval_s = 30',
    "second opening hours without from": '{hours = "Mo-Fr',
    "pools is no table": "door = ",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_and_its_line(name: str) -> None:
    old, new, words = MISTAKES[name]
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    with pytest.raises(RegistryError) as caught:
        parse_registry(text)
    lines = [mistake.line for mistake in caught.value.mistakes]
    expected = _line_of(text, _ELSEWHERE.get(name, new.strip("\n").splitlines()[-1]))
    assert any(
        line is not None and abs(line - expected) <= (3 if name == "overlapping sensors" else 0)
        for line in lines
    ), (
        expected,
        str(caught.value),
    )
    assert words in str(caught.value)


def test_every_mistake_is_told_in_order_of_lines() -> None:
    text = (
        GOOD.replace("[31.78", "[331.78")
        .replace('"indoor"', '"indor"')
        .replace("interval_s = 30", "interval_s = -1")
    )
    text = text.replace('pools = ["qf-main"]', 'pools = ["qf"]')
    with pytest.raises(RegistryError) as caught:
        parse_registry(text)
    lines = [mistake.line for mistake in caught.value.mistakes]
    assert lines == [_line_of(text, part) for part in ("position", "kind", "interval_s = -1", "pools = [")]


def test_lines_are_not_misled_by_text_that_looks_like_tables() -> None:
    district = '"""\n[pools.qf-main]\nkind = 1\n# [gateways.x]\n"""'
    text = GOOD.replace('district = "天宁区"', f"district = {district}").replace(
        'kind = "indoor"', 'kind = "indor"'
    )
    with pytest.raises(RegistryError) as caught:
        parse_registry(text)
    assert [mistake.line for mistake in caught.value.mistakes] == [_line_of(text, 'kind = "indor"')]


def test_dotted_and_quoted_keys_have_lines() -> None:
    text = 'schema = 1\n[venues]\n"qf".name_zh = "a"\nqf . name_en = "b"\n\nqf.district = 7\n'
    with pytest.raises(RegistryError) as caught:
        parse_registry(text)
    assert [mistake.line for mistake in caught.value.mistakes] == [6]


@pytest.mark.parametrize("key", ["name_zh", "name_en", "district"])
def test_missing_key_is_told_at_the_table(key: str) -> None:
    text = re.sub(rf"(?m)^{key} = .*\n", "", GOOD, count=1)
    with pytest.raises(RegistryError) as caught:
        parse_registry(text)
    mistakes = [(mistake.line, key in mistake.text) for mistake in caught.value.mistakes]
    assert mistakes == [(_line_of(text, "[venues.qingfeng]"), True)]


_LINES = GOOD.splitlines()


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_mutated_files_raise_only_registry_errors(data: st.DataObject) -> None:
    lines = list(_LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        key = lines[at].partition("=")[0]
        value = data.draw(
            st.sampled_from(
                ["1", "-1.5", "nan", "true", '"x"', "[]", "[[1]]", "{}", "{a=1}", "2026-01-01", "07:00:00"]
            )
        )
        lines[at] = data.draw(st.sampled_from(["", f"{key}= {value}", lines[at][:-1], lines[at] + lines[at]]))
    mistakes = []
    try:
        parse_registry("\n".join(lines))
    except RegistryError as error:
        mistakes = [*error.mistakes] or pytest.fail("a RegistryError without a mistake")
    for mistake in mistakes:
        assert mistake.line is None or 1 <= mistake.line <= len(lines) + 1
        assert mistake.text


_words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_ids = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)


@given(
    gateways=st.dictionaries(_ids, st.tuples(_words, _words, st.integers(1, 65535)), max_size=4),
    services=st.dictionaries(_ids, st.tuples(_words, _words, st.integers(1, 65535)), max_size=2),
)
def test_credentials_round_trip(
    gateways: dict[str, tuple[str, str, int]], services: dict[str, tuple[str, str, int]]
) -> None:
    def entries(drawn: dict[str, tuple[str, str, int]], *, same: bool) -> dict[str, Credential]:
        return {
            name: Credential(username=name if same else f"u-{name}", password=password, host=host, port=port)
            for name, (password, host, port) in drawn.items()
        }

    credentials = Credentials(gateways=entries(gateways, same=True), services=entries(services, same=False))
    assert parse_credentials(render_credentials(credentials)) == credentials


def test_a_password_is_not_shown() -> None:
    assert "geheim" not in repr(Credential(username="gw-1", password="geheim", host="localhost", port=1883))


CREDENTIALS = '[gateways.gw-1]\nusername = "gw-1"\npassword = "geheim"\nhost = "127.0.0.1"\nport = 1883\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[gateways.gw-1]", "[gateways.gw-1"),
        ("[gateways.gw-1]", "[gateway.gw-1]"),
        ("port = 1883", "port = 0"),
        ("port = 1883", 'port = "1883"'),
        ('password = "geheim"\n', ""),
        ('password = "geheim"', 'password = ""'),
        ('password = "geheim"', "password = 7"),
        ('host = "127.0.0.1"', 'hostname = "127.0.0.1"'),
    ],
)
def test_credentials_refused(old: str, new: str) -> None:
    parse_credentials(CREDENTIALS)
    assert old in CREDENTIALS
    with pytest.raises(ContractError) as caught:
        parse_credentials(CREDENTIALS.replace(old, new))
    assert "geheim" not in str(caught.value)


def test_a_faulty_table_is_named() -> None:
    with pytest.raises(
        ContractError, match=r"\[services.ingest\].*`port`.*username, password, host and port"
    ):
        parse_credentials(CREDENTIALS + '[services.ingest]\nusername = "a"\npassword = "b"\nhost = "c"\n')
