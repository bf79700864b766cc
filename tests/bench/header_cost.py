"""What headers that are new with each lookup cost a hit, as a `traceparent` is.

    .venv/bin/python -m tests.bench.header_cost

The front protocol knows the headers that it has seen; others it has to read. As in `metrics_cost`,
it answers on a transport that keeps nothing, without system calls.
"""

import asyncio
import gc
import os
from statistics import median

import click

from tests.support.front_bytes import station
from tests.support.front_site import running_site

from .metrics_cost import cpu_of_hits

ROUNDS = 20
HITS = 20_000  # in each round


def _traced(request: bytes) -> bytes:
    ids = b"%b-%b" % (os.urandom(16).hex().encode(), os.urandom(8).hex().encode())
    return b"%btraceparent: 00-%b-01\r\n\r\n" % (request.removesuffix(b"\r\n"), ids)


async def measure() -> list[tuple[float, float]]:
    """Microseconds of CPU time for a hit, with the same headers and with new ones, by round."""
    request = station("cs001")

    async with running_site() as site:
        gc.disable()
        try:
            return [
                (
                    cpu_of_hits(site, [request] * HITS),
                    cpu_of_hits(site, [_traced(request) for _ in range(HITS)]),
                )
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
