from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.shard import Shard, parse_shard


@given(st.text(min_size=1), st.integers(1, 50))
def test_every_pool_belongs_to_exactly_one_shard(pool_id: str, count: int) -> None:
    owners = [number for number in range(1, count + 1) if Shard(number, count).owns(pool_id)]
    assert owners == [crc32(pool_id.encode()) % count + 1]


def test_three_thousand_pools_spread_evenly() -> None:
    sizes = [sum(Shard(number, 4).owns(f"pool-{pool}") for pool in range(3000)) for number in (1, 2, 3, 4)]
    assert sum(sizes) == 3000
    assert min(sizes) > 600


def test_the_only_shard_keeps_its_progress_under_no_name() -> None:
    assert (Shard().name, Shard(2, 3).name, parse_shard("1/1").name) == ("", "2-of-3", "")
    assert all(Shard().owns(pool_id) for pool_id in ("a", "泳池"))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/", "a/b", "1/3 ", "01/3", "-1/3", ""])
def test_another_form_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="1/3"):
        parse_shard(text)
