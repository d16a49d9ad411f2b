"""What the benchmarks measure on works: their stand-in for claude is driven like a claude."""

import asyncio

import pytest
from bench.setting import Watcher, flooded, send, watched, wish

from betcode.testing.installation import until

TURN_S = 60.0
DELTAS = 20


@pytest.mark.req("PS-12")
@pytest.mark.parametrize("raw", [False, True])
def test_a_turn_of_the_flood_reaches_each_watcher_whole(raw: bool) -> None:
    async def one_turn() -> list[Watcher]:
        with flooded() as made:
            async with made.client() as client, watched(made, client, 2, turns=1, raw=raw) as (session, watchers):
                await send(client, session, wish(DELTAS, 0))
                await until(lambda: all(w.ended_after(0.0) for w in watchers), within_s=TURN_S, what="the turn's end")
        return watchers

    assert all(len(watcher.ages_s) >= DELTAS for watcher in asyncio.run(one_turn()))
