"""Three replicas behind the balancers that `deploy/` configures, replaced and killed under load."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Valkey, short_directory
from tests.deploy.balancers import HAPROXY, NGINX, Balancer, running
from tests.deploy.load import Load
from tests.lookup.measure import say
from tests.system.service import Service, free_port

BALANCERS = pytest.mark.parametrize("balancer", [NGINX, HAPROXY], ids=lambda one: one.name)
CALM = 1.5  # seconds before and after: HAProxy's checks come twice a second
DRAIN = {
    # nginx asks no replica how it is: it only sees what becomes of requests
    "nginx": "0",
    "haproxy": "1",
}


@BALANCERS
def test_configuration_is_right(balancer: Balancer) -> None:
    """The program itself reads it, and has nothing to say."""
    with short_directory() as home:
        configuration = balancer.render(home, free_port(), [free_port() for _ in range(3)])
        done = subprocess.run(
            balancer.command(home, configuration, check=True),
            capture_output=True,
            timeout=20,
            check=False,
        )
    said = (done.stdout + done.stderr).decode().lower()

    assert done.returncode == 0, said
    assert "warn" not in said
    assert "emerg" not in said


class Replicas:
    """Three services over one Redis, each with a port that it has again after a restart."""

    def __init__(self, stack: ExitStack, valkey: Valkey, drain_delay: str) -> None:
        settings = {"CSMS_REDIS__URL": valkey.url, "CSMS_SERVER__DRAIN_DELAY": drain_delay}
        self._services = [
            stack.enter_context(
                Service(stack.enter_context(short_directory()), settings, port=free_port())
            )
            for _ in range(3)
        ]
        for service in self._services:
            service.ready()

    @property
    def ports(self) -> list[int]:
        """Where they listen."""
        return [service.port for service in self._services]

    def replace(self, number: int) -> int:
        """End one with SIGTERM, start another until it is ready; gives the exit code."""
        code = self._services[number].stop()
        self.revive(number)
        return code

    def kill(self, number: int) -> None:
        """End one with SIGKILL."""
        self._services[number].kill()

    def revive(self, number: int) -> None:
        """Start one that has ended, until it is ready, as a rollout does."""
        self._services[number].start().ready()


@pytest.fixture
def replicas(balancer: Balancer, valkey: Valkey) -> Iterator[Replicas]:
    balancer.need()
    with ExitStack() as stack:
        yield Replicas(stack, valkey, DRAIN[balancer.name])


@pytest.fixture
def load(balancer: Balancer, replicas: Replicas) -> Iterator[Load]:
    with short_directory() as home, running(balancer, home, replicas.ports) as port:
        yield Load(port)


@BALANCERS
async def test_no_request_fails_while_all_are_replaced(
    balancer: Balancer, replicas: Replicas, load: Load
) -> None:
    codes = []
    await load.seed()
    async with load.running():
        await asyncio.sleep(CALM)
        for number in range(3):
            codes.append(await asyncio.to_thread(replicas.replace, number))
            await asyncio.sleep(CALM)

    say(f"replaced behind {balancer.name}: {load}")
    assert load.failed == []
    assert codes == [0, 0, 0]
    assert await load.check() == []


@BALANCERS
async def test_no_lookup_fails_when_one_is_killed(
    balancer: Balancer, replicas: Replicas, load: Load
) -> None:
    await load.seed()
    async with load.running():
        for number in range(3):
            await asyncio.sleep(CALM)
            await asyncio.to_thread(replicas.kill, number)
            await asyncio.sleep(CALM)
            await asyncio.to_thread(replicas.revive, number)
        await asyncio.sleep(CALM)

    say(f"killed behind {balancer.name}: {load}")
    assert load.failed == []
    assert await load.check() == []
