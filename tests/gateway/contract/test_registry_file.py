"""A registry is taken as it stands, or every mistake is named with its line."""

import datetime
from typing import NoReturn

import pytest

from gateway.contract import registry_tables
from gateway.contract.errors import RegistryError
from gateway.contract.quantities import Quantity
from gateway.contract.registry import PoolKind
from gateway.contract.registry_file import parse_registry

GOOD = """\
schema = 1

[venues.qingfeng]
name_zh = "清枫游泳馆"
name_en = "Qingfeng"
district = "天宁"
position = [31.77, 119.97]
grade = {grade = "A", issuer = "常州市卫生健康委员会", issued_on = 2026-03-01}

[pools.qingfeng-main]
venue = "qingfeng"
name_zh = "主池"
name_en = "Main pool"
kind = "indoor"
volume_m3 = 750
opening_hours = [{hours = "Mo-Su 06:00-22:00"}, {from = 2026-10-01, hours = "Mo-Su 08:00-20:00"}]
profile = "changzhou-2022"
from = 2026-01-01

[[pools.qingfeng-main.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 10

[gateways.gw-qingfeng]
pools = ["qingfeng-main"]

[displays.hall]
pool = "qingfeng-main"
"""


def mistakes(text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(RegistryError) as refused:
        parse_registry(text)
    return [(mistake.line, mistake.place, mistake.text) for mistake in refused.value.mistakes]


def test_a_good_file_becomes_a_registry() -> None:
    registry = parse_registry(GOOD)
    pool = registry.pools["qingfeng-main"]
    assert pool.kind is PoolKind.INDOOR
    assert pool.time_zone == "Asia/Shanghai"
    # Local midnight of 1 January in Shanghai is 16:00 UTC of 31 December.
    instant = datetime.datetime(2025, 12, 31, 16, tzinfo=datetime.UTC)
    assert pool.from_ms == int(instant.timestamp() * 1000)
    assert [hours.expression for hours in pool.opening] == ["Mo-Su 06:00-22:00", "Mo-Su 08:00-20:00"]
    assert [(sensor.sensor_id, sensor.quantity, sensor.interval_s) for sensor in pool.sensors] == [
        ("fc-1", Quantity.FREE_CHLORINE_MG_L, 10.0)
    ]
    venue = registry.venue_of(pool)
    assert venue.grade is not None
    assert (venue.grade.grade, venue.latitude) == ("A", 31.77)
    assert registry.gateways["gw-qingfeng"].pools == {"qingfeng-main"}
    assert len(registry.sha256) == 64


@pytest.mark.parametrize(
    ("old", "new", "line", "place", "words"),
    [
        ("schema = 1", "schema = 2", 1, "schema", "reads 1"),
        ("[31.77, 119.97]", "[119.97, 31.77]", 7, "venues.qingfeng.position", "latitude comes first"),
        (
            'venue = "qingfeng"',
            'venue = "qingfen"',
            11,
            "pools.qingfeng-main.venue",
            "did you mean 'qingfeng'",
        ),
        ('kind = "indoor"', 'kind = "indor"', 14, "pools.qingfeng-main.kind", "did you mean 'indoor'"),
        ('kind = "indoor"\n', "", 10, "pools.qingfeng-main", "`kind` is missing"),
        ("volume_m3 = 750", "volume_m3 = 0", 15, "pools.qingfeng-main.volume_m3", "not above 0"),
        ("volume_m3 = 750", "volume = 750", 15, "pools.qingfeng-main.volume", "did you mean `volume_m3`"),
        ("06:00-22:00", "06:0022:00", 16, "pools.qingfeng-main.opening_hours", "character 12"),
        ("{from = 2026-10-01, ", "{", 16, "pools.qingfeng-main.opening_hours", "needs `from`"),
        ("from = 2026-01-01", "from = 2026-01-01T00:00:00", 18, "pools.qingfeng-main.from", "no offset"),
        (
            'quantity = "free_chlorine_mg_l"',
            'quantity = "chlorine"',
            22,
            "pools.qingfeng-main.sensors[0].quantity",
            "known:",
        ),
        (
            "interval_s = 10",
            "interval_s = -1",
            24,
            "pools.qingfeng-main.sensors[0].interval_s",
            "not above 0",
        ),
        ('id = "fc-1"', 'id = "manual"', 21, "pools.qingfeng-main.sensors[0].id", "every pool has"),
        ('id = "fc-1"', "id = 1", 21, "pools.qingfeng-main.sensors[0].id", "whole number"),
        (
            'pools = ["qingfeng-main"]',
            'pools = ["qingfeng"]',
            27,
            "gateways.gw-qingfeng.pools",
            "no [pools.qingfeng]",
        ),
        ("[gateways.gw-qingfeng]", "[gateways.GW]", 26, "gateways.GW", "lower-case"),
        ('pool = "qingfeng-main"', 'pool = "x"', 30, "displays.hall.pool", "no [pools.x]"),
        ("district", "districtt", 6, "venues.qingfeng.districtt", "did you mean `district`"),
        ("issued_on = 2026-03-01", 'issued_on = "March"', 8, "venues.qingfeng.grade.issued_on", "date"),
    ],
)
def test_each_mistake_is_named_with_its_line(old: str, new: str, line: int, place: str, words: str) -> None:
    assert GOOD.count(old) == 1
    found = mistakes(GOOD.replace(old, new))
    assert any(
        (found_line, found_place) == (line, place) and words in text
        for found_line, found_place, text in found
    ), found


def test_text_that_is_no_toml_names_its_line() -> None:
    assert mistakes(GOOD.replace("kind = ", "kind "))[0][0] == 14


def test_all_mistakes_are_named_at_once() -> None:
    text = GOOD.replace('kind = "indoor"', 'kind = "x"').replace("interval_s = 10", "interval_s = 0")
    assert [line for line, _, _ in mistakes(text)] == [14, 24]


def test_a_sensor_that_measures_a_quantity_twice_needs_from() -> None:
    again = '[[pools.qingfeng-main.sensors]]\nid = "fc-1"\nquantity = "free_chlorine_mg_l"\n\n[gateways'
    assert "needs `from`" in mistakes(GOOD.replace("[gateways", again))[0][2]


def test_lines_are_counted_only_where_there_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a province's file they would take a third of the time."""

    def count(text: str) -> NoReturn:
        raise AssertionError(f"lines of {len(text)} characters are counted")

    monkeypatch.setattr(registry_tables, "LineIndex", count)
    sound = "schema = 1\n"
    assert parse_registry(sound).pools == {}
    with pytest.raises(AssertionError, match="are counted"):
        parse_registry(sound + "pool = 1\n")
