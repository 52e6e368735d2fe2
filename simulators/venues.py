"""Invented venues of Changzhou's districts: names, districts and made-up positions. No real place is meant."""

import random
from dataclasses import dataclass

#: District with its name in English, and a point inside it (latitude, longitude).
_DISTRICTS: dict[str, tuple[str, float, float]] = {
    "tianning": ("天宁 Tianning", 31.775, 119.985),
    "zhonglou": ("钟楼 Zhonglou", 31.795, 119.905),
    "xinbei": ("新北 Xinbei", 31.845, 119.965),
    "wujin": ("武进 Wujin", 31.700, 119.945),
    "jintan": ("金坛 Jintan", 31.725, 119.590),
    "liyang": ("溧阳 Liyang", 31.425, 119.485),
}
#: Positions are scattered by this much around the point [deg], about 2 km.
_SCATTER_DEG = 0.02

_NAMES: tuple[tuple[str, str, str, str], ...] = (
    ("qingfeng", "tianning", "清枫游泳馆", "Qingfeng Natatorium"),
    ("yunhe-wan", "zhonglou", "运河湾水上中心", "Canal Bay Aquatic Centre"),
    ("taihu-lu", "xinbei", "泰湖路游泳健身馆", "Taihu Road Swim & Fitness"),
    ("nantian", "wujin", "南田文化宫游泳池", "Nantian Culture Palace Pool"),
    ("maolu", "jintan", "茅麓游泳馆", "Maolu Natatorium"),
    ("tianmu", "liyang", "天沐湖泳池", "Tianmu Lakeside Pool"),
    ("hongmei", "tianning", "红梅里社区泳池", "Hongmei Lane Community Pool"),
    ("xiyuan", "zhonglou", "西园少年游泳馆", "Xiyuan Youth Natatorium"),
    ("longhu", "xinbei", "龙虎塘水世界", "Longhutang Water World"),
    ("yaoguan", "wujin", "遥观健身中心泳池", "Yaoguan Fitness Centre Pool"),
    ("qianzi", "jintan", "钱资荡泳池", "Qianzi Lake Pool"),
    ("kunlun", "liyang", "昆仑桥游泳馆", "Kunlun Bridge Natatorium"),
    ("wenbi", "tianning", "文笔塔健身会馆", "Wenbi Pagoda Health Club"),
    ("huaizhu", "zhonglou", "怀竹学校游泳馆", "Huaizhu School Natatorium"),
    ("feiyu", "xinbei", "飞羽体育中心泳池", "Feiyu Sports Centre Pool"),
    ("gehu", "wujin", "滆湖浴场泳池", "Gehu Bathing Pool"),
    ("yuchi", "jintan", "愚池里泳池", "Yuchi Lane Pool"),
    ("nanshan", "liyang", "南山竹苑酒店泳池", "Nanshan Bamboo Hotel Pool"),
    ("qishu", "tianning", "戚墅堰职工泳池", "Qishuyan Workers' Pool"),
    ("jingchuan", "zhonglou", "荆川里游泳馆", "Jingchuan Natatorium"),
    ("sanjing", "xinbei", "三井青年泳池", "Sanjing Youth Pool"),
    ("hutang", "wujin", "湖塘纺城游泳馆", "Hutang Textile City Natatorium"),
    ("xicheng", "jintan", "西城酒店泳池", "Xicheng Hotel Pool"),
    ("gaojing", "liyang", "高静园游泳馆", "Gaojing Garden Natatorium"),
)
_FIRST_POOL = ("主池", "Main pool")
_SECOND_POOL = ("训练池", "Training pool")


@dataclass(frozen=True, slots=True)
class InventedPool:
    """A pool of an invented venue."""

    pool_id: str
    name_zh: str
    name_en: str


@dataclass(frozen=True, slots=True)
class InventedVenue:
    """An invented venue with one or two pools and one gateway."""

    venue_id: str
    name_zh: str
    name_en: str
    district: str
    latitude: float
    longitude: float
    pools: tuple[InventedPool, ...]

    @property
    def gateway_id(self) -> str:
        """Gateway of the venue."""
        return f"gw-{self.venue_id}"


def invent_venues(pools: int, rng: random.Random) -> list[InventedVenue]:
    """Return venues that have `pools` pools together; every third venue has two, the others one."""
    venues: list[InventedVenue] = []
    missing = pools
    while missing > 0:
        number = len(venues)
        venue = _venue(number, pools=2 if number % 3 == 0 and missing > 1 else 1, rng=rng)
        venues.append(venue)
        missing -= len(venue.pools)
    return venues


def _venue(number: int, *, pools: int, rng: random.Random) -> InventedVenue:
    turn, place = divmod(number, len(_NAMES))
    name_id, district, name_zh, name_en = _NAMES[place]
    branch = "" if turn == 0 else f"-{turn + 1}"
    branch_zh = "" if turn == 0 else f"{turn + 1}号馆"
    branch_en = "" if turn == 0 else f" No. {turn + 1}"
    district_name, latitude, longitude = _DISTRICTS[district]
    venue_id = f"{name_id}{branch}"
    return InventedVenue(
        venue_id=venue_id,
        name_zh=name_zh + branch_zh,
        name_en=name_en + branch_en,
        district=district_name,
        latitude=round(latitude + rng.uniform(-_SCATTER_DEG, _SCATTER_DEG), 4),
        longitude=round(longitude + rng.uniform(-_SCATTER_DEG, _SCATTER_DEG), 4),
        pools=tuple(
            InventedPool(
                f"{venue_id}-{position}", name_zh + branch_zh + part_zh, f"{name_en}{branch_en}, {part_en}"
            )
            for position, (part_zh, part_en) in enumerate((_FIRST_POOL, _SECOND_POOL)[:pools], start=1)
        ),
    )
