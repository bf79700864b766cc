"""The service, for a tenth of a second as it is and for the next as if it noted no refusal.

For `refused_cost`. The second way is the front protocol made anew, without the lines that note who
is turned away. What each turn took is written into the file that the environment names.
"""

import ast
import asyncio
import inspect
import os
import sys
import textwrap
from collections.abc import Callable
from itertools import cycle
from time import process_time
from typing import Any

import orjson

from csms_redis.cli import main
from csms_redis.lookup import refused
from csms_redis.lookup.front.from_memory import FromMemory
from csms_redis.lookup.front.protocol import LookupProtocol
from csms_redis.lookup.front.server import LookupServer

TURN = 0.1  # seconds
_FILE = os.open(os.environ["REFUSED_IN_TURNS"], os.O_WRONLY | os.O_CREAT)
_NOTING = ((FromMemory, "answer_to"), (LookupProtocol, "_answered"))  # what notes a refusal


class _WithoutNoting(ast.NodeTransformer):
    removed = 0

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if "self._refused.turns" in ast.unparse(node.test):
            self.removed += 1
            return None
        return self.generic_visit(node)


def _without_noting(of: type, name: str) -> Callable[..., Any]:
    source = textwrap.dedent(inspect.getsource(getattr(of, name)))
    transformer = _WithoutNoting()
    tree = ast.fix_missing_locations(transformer.visit(ast.parse(source)))
    if transformer.removed != 1:
        raise AssertionError(f"{name} does not note a refusal once")
    made: dict[str, Any] = {}
    exec(compile(tree, name, "exec"), vars(sys.modules[of.__module__]), made)
    method: Callable[..., Any] = made[name]
    return method


_WAYS = {
    True: [(of, name, getattr(of, name)) for of, name in _NOTING],
    False: [(of, name, _without_noting(of, name)) for of, name in _NOTING],
}


async def _take_turns(server: LookupServer) -> None:
    """Until cancelled; each turn's way, CPU time and lookups go into the file."""
    for notes in cycle((True, False, False, True)):  # neither way is always the first
        for of, name, method in _WAYS[notes]:
            setattr(of, name, method)
        began, lookups = process_time(), sum(server.lookups.counts.unknown)
        await asyncio.sleep(TURN)
        took = process_time() - began, sum(server.lookups.counts.unknown) - lookups
        os.write(_FILE, orjson.dumps([notes, *took]) + b"\n")


async def _run(server: LookupServer, run: Callable[[LookupServer], Any] = LookupServer.run) -> None:
    async with asyncio.TaskGroup() as both:
        both.create_task(run(server))
        both.create_task(_take_turns(server))


LookupServer.run = _run  # type: ignore[method-assign, assignment]
# it notes for half of the time, and then as many a second as it would if it always did
refused.MOST_LOOKED_AT //= 2
main()
