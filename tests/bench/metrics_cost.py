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
from collections.abc import Callable, Sequence
from statistics import median
from time import process_time
from typing import Any

import click

from csms_redis.lookup.front.from_memory import Answer, FromMemory
from tests.support.front_bytes import station
from tests.support.front_site import Site, running_site

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


def without_counting() -> "Callable[..., Answer | None]":
    """The front protocol's hit, made anew without what counts it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(FromMemory.answer_to)))
    transformer = _Uncounted()
    tree = ast.fix_missing_locations(transformer.visit(tree))
    if transformer.removed != 2:
        raise AssertionError("a hit and a remembered 404 are counted once each")
    made: dict[str, Any] = {}
    exec(compile(tree, "uncounted", "exec"), vars(sys.modules[FromMemory.__module__]), made)
    hit: Callable[..., Answer | None] = made["answer_to"]
    return hit


def cpu_of_hits(site: Site, requests: Sequence[bytes], *, counted: bool = True) -> float:
    """Microseconds of CPU time for each of these requests, which must all be hits.

    Args:
        site: that answers.
        requests: over one connection; the first is sent once more before, so that its headers are
            known.
        counted: whether the code counts its hits.
    """
    protocol = site.lookup_server.new_protocol()
    protocol.connection_made(Sink())
    protocol.data_received(requests[0])
    before = sum(site.lookups.counts.hit)
    started = process_time()
    for request in requests:
        protocol.data_received(request)
    took = process_time() - started
    if sum(site.lookups.counts.hit) - before != (len(requests) if counted else 0):
        raise AssertionError("not all of them are hits, or it is not the code that was meant")
    protocol.connection_lost(None)
    return took / len(requests) * 1e6


def alternated(
    rounds: int, one: Callable[[], float], other: Callable[[], float]
) -> list[tuple[float, float]]:
    """What two measurements give in each round, neither always the first."""
    one()
    other()
    found = []
    for number in range(rounds):
        order = (one, other) if number % 2 else (other, one)
        took = {measure: measure() for measure in order}
        found.append((took[one], took[other]))
    return found


async def measure() -> list[tuple[float, float]]:
    """Microseconds of CPU time for a hit, with counting and without, for each round."""
    counted, uncounted = FromMemory.answer_to, without_counting()
    request = station("cs001")

    async with running_site() as site:

        def round_of(hit: "Callable[..., Answer | None]") -> float:
            FromMemory.answer_to = hit  # type: ignore[method-assign]
            return cpu_of_hits(site, [request] * HITS, counted=hit is counted)

        gc.disable()
        try:
            return alternated(ROUNDS, lambda: round_of(counted), lambda: round_of(uncounted))
        finally:
            gc.enable()
            FromMemory.answer_to = counted  # type: ignore[method-assign]


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
