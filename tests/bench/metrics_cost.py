"""What the counting costs a hit: the same code with and without it, in alternated rounds.

    .venv/bin/python -m tests.bench.metrics_cost

The front protocol answers one station on a transport that keeps nothing, so that the system calls,
which take most of a lookup's time, do not hide the difference. It exits with 1 when a hit costs
more than a microsecond more.
"""

import ast
import asyncio
import gc
import inspect
import sys
import textwrap
from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import click

from csms_redis.lookup import front
from csms_redis.lookup.front import FrontProtocol
from tests.lookup.front_site import running_site, station

ROUNDS = 20
HITS = 50_000  # in each round
WANTED = 1.0  # microseconds


class Sink(asyncio.Transport):
    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        """Keep nothing."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Stay open."""


class _Uncounted(ast.NodeTransformer):
    removed = 0

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | None:
        if isinstance(node.target, ast.Subscript):
            self.removed += 1
            return None
        return node


def without_counting() -> Callable[..., bool]:
    """The front protocol's hit, made anew without what counts it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(FrontProtocol._hit)))
    transformer = _Uncounted()
    tree = ast.fix_missing_locations(transformer.visit(tree))
    if transformer.removed != 2:
        raise AssertionError("a hit and a remembered 404 are counted once each")
    made: dict[str, Any] = {}
    exec(compile(tree, "uncounted", "exec"), vars(front), made)
    hit: Callable[..., bool] = made["_hit"]
    return hit


async def measure() -> list[tuple[float, float]]:
    """Microseconds of CPU time for a hit, with counting and without, for each round."""
    counted, uncounted = FrontProtocol._hit, without_counting()
    request = station("cs001")

    async with running_site() as site:

        def round_of(hit: Callable[..., bool]) -> float:
            FrontProtocol._hit = hit  # type: ignore[method-assign]
            protocol = site.front.protocol()
            protocol.connection_made(Sink())
            protocol.data_received(request)  # its headers are known from here on
            before = sum(site.lookups.counts.hit)
            started = process_time()
            for _ in range(HITS):
                protocol.data_received(request)
            took = process_time() - started
            seen = sum(site.lookups.counts.hit) - before
            if seen != (HITS if hit is counted else 0):
                raise AssertionError("not the code that was meant")
            protocol.connection_lost(None)
            return took / HITS * 1e6

        try:
            gc.disable()
            round_of(counted)
            round_of(uncounted)
            rounds = []
            for number in range(ROUNDS):
                # neither is always the first
                order = (counted, uncounted) if number % 2 else (uncounted, counted)
                took = {hit: round_of(hit) for hit in order}
                rounds.append((took[counted], took[uncounted]))
            return rounds
        finally:
            gc.enable()
            FrontProtocol._hit = counted  # type: ignore[method-assign]


@click.command()
def main() -> None:
    """Measure, print the figures, and hold them against what is wanted."""
    rounds = asyncio.run(measure())
    more = [with_it - without for with_it, without in rounds]
    click.echo(
        f"{ROUNDS} alternated rounds of {HITS} hits: "
        f"{median(each[0] for each in rounds):.3f} µs with counting, "
        f"{median(each[1] for each in rounds):.3f} µs without; "
        f"{median(more):.3f} µs more ({min(more):.3f} to {max(more):.3f}), "
        f"wanted at most {WANTED} µs"
    )
    sys.exit(median(more) > WANTED)


if __name__ == "__main__":
    main()
