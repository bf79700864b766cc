"""What headers that are new with each lookup cost a hit, as a `traceparent` is.

    .venv/bin/python -m tests.bench.header_cost

The front protocol knows the headers that it has seen; others it has to read. As in `metrics_cost`,
it answers on a transport that keeps nothing, without system calls.
"""

import asyncio
import gc
import os
from collections.abc import Sequence
from statistics import median
from time import process_time

import click

from tests.lookup.front_site import running_site, station

from .metrics_cost import Sink

ROUNDS = 20
HITS = 20_000  # in each round


def _traced(request: bytes) -> bytes:
    ids = b"%b-%b" % (os.urandom(16).hex().encode(), os.urandom(8).hex().encode())
    return b"%btraceparent: 00-%b-01\r\n\r\n" % (request.removesuffix(b"\r\n"), ids)


async def measure() -> list[tuple[float, float]]:
    """Microseconds of CPU time for a hit, with the same headers and with new ones, by round."""
    request = station("cs001")

    async with running_site() as site:

        def round_of(requests: Sequence[bytes]) -> float:
            protocol = site.front.protocol()
            protocol.connection_made(Sink())
            protocol.data_received(requests[0])
            before = sum(site.lookups.counts.hit)
            started = process_time()
            for each in requests:
                protocol.data_received(each)
            took = process_time() - started
            if sum(site.lookups.counts.hit) - before != len(requests):
                raise AssertionError("not all of them are hits")
            protocol.connection_lost(None)
            return took / len(requests) * 1e6

        gc.disable()
        try:
            return [
                (round_of([request] * HITS), round_of([_traced(request) for _ in range(HITS)]))
                for _ in range(ROUNDS)
            ]
        finally:
            gc.enable()


@click.command()
def main() -> None:
    """Measure, and print the figures."""
    rounds = asyncio.run(measure())
    known, new = (median(each[at] for each in rounds) for at in (0, 1))
    click.echo(
        f"{ROUNDS} rounds of {HITS} hits: {known:.1f} µs with the same headers, "
        f"{new:.1f} µs with a traceparent that is new"
    )


if __name__ == "__main__":
    main()
