"""kill -9 of gateway, broker and ingest at random moments: every reading that was sent is in the store once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fault_bench import Bench, needs_mosquitto
from tests.integration.fault_kills import kill_at_random

SEEDS = range(5)
#: Rounds of all seeds together.
ROUNDS = int(os.environ.get("POOLWATCH_FAULT_ROUNDS", "50"))
_ROUNDS_EACH = -(-ROUNDS // len(SEEDS))
_VICTIMS = ("g1", "broker", "ingest")

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(180 + 3 * _ROUNDS_EACH)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, ("g1", "bystander"))
    yield bench
    bench.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_random_moments_lose_and_double_nothing(bench: Bench, seed: int) -> None:
    kill_at_random(
        bench, _VICTIMS, seed=seed, rounds=_ROUNDS_EACH, is_under_way=lambda: len(bench.payloads("g1")) > 10
    )
