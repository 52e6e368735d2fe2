"""Rounds of kill -9 at moments that are drawn, and the questions that are asked after them."""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.integration.fault_bench import Bench, came_again, pool_of, until

_SHORTEST_S, _LONGEST_S = 0.3, 1.5


def kill_at_random(
    bench: Bench, victims: Sequence[str], *, seed: int, rounds: int, is_under_way: Callable[[], bool]
) -> None:
    """Kill one of the victims and start it again, `rounds` times once `is_under_way`; then all must be whole."""
    chance = random.Random(seed)
    for name in ("broker", "ingest", "g1", "bystander"):
        bench.start(name)
    bench.until_ready()
    until(is_under_way, "readings flow")
    # Each of them is killed at least once, whatever the seed.
    killed = [*victims, *chance.choices(victims, k=rounds)][: max(rounds, len(victims))]
    chance.shuffle(killed)
    for victim in killed:
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
        f"seed {seed}: {dict(Counter(killed))} killed, {len(sent)} readings, {boots} boots of g1; "
        f"{came_again(account)} messages came again"
    )
