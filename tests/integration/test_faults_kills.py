"""kill -9 of gateway, broker and ingest at random moments: every reading that was sent is in the store once."""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fault_bench import Bench, came_again, needs_mosquitto, pool_of, until

SEEDS = range(5)
#: Rounds of all seeds together.
ROUNDS = int(os.environ.get("POOLWATCH_FAULT_ROUNDS", "50"))
_ROUNDS_EACH = -(-ROUNDS // len(SEEDS))
_VICTIMS = ("g1", "broker", "ingest")
_SHORTEST_S, _LONGEST_S = 0.3, 1.5

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(180 + 3 * _ROUNDS_EACH)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, ("g1", "bystander"))
    yield bench
    bench.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_random_moments_lose_and_double_nothing(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    for name in ("broker", "ingest", "g1", "bystander"):
        bench.start(name)
    bench.until_ready()
    until(lambda: len(bench.payloads("g1")) > 10, "readings flow")
    # Each of the three is killed at least once, whatever the seed.
    victims = [*_VICTIMS, *chance.choices(_VICTIMS, k=_ROUNDS_EACH)]
    victims = victims[: max(_ROUNDS_EACH, len(_VICTIMS))]
    chance.shuffle(victims)
    for victim in victims:
        time.sleep(chance.uniform(_SHORTEST_S, _LONGEST_S))  # the moment is what is drawn
        bench.kill(victim)
        bench.start(victim)
    bench.settle()
    sent = [*bench.sent("g1"), *bench.sent("bystander")]
    account = bench.assert_whole(sent)
    found = bench.judged[pool_of("g1")]
    assert found.exceedances
    assert found.lapses, "a killed gateway measures nothing for a while"
    boots = len({message["boot_id"] for message in bench.payloads("g1")})
    print(  # noqa: T201 - what a person who runs it wants to know
        f"seed {seed}: {dict(Counter(victims))} killed, {len(sent)} readings, {boots} boots of g1; "
        f"{came_again(account)} messages came again"
    )
