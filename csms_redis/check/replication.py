"""Checks that an acknowledged write outlives its master: that enough replicas confirm it."""

from collections.abc import Iterator, Sequence

from csms_redis.check.finding import Finding, error, ok, warning
from csms_redis.check.inspection import Server
from csms_redis.settings import RedisSettings

_EVERYSEC_CONFIRMS = 1.5
"""Seconds until a server with appendfsync everysec confirms that a write is on its disk."""


def cut_off(master: Server, waited_for: int) -> Finding:
    """Report whether a master that is cut off from its replicas goes on acknowledging writes.

    Args:
        master: one that sentinels watch, after its inspection.
        waited_for: `redis.wait_replicas`.
    """
    about = "min-replicas"
    wanted = master.config.get("min-replicas-to-write")
    lag = master.config.get("min-replicas-max-lag")
    if wanted is None:
        return warning(
            about, "CONFIG GET does not say: make sure that min-replicas-to-write is 1 or more"
        )
    if "0" not in {wanted, lag}:
        return ok(about, f"{wanted}: a master that is cut off refuses writes after {lag} s")
    if 0 < len(master.replicas()) <= waited_for:
        return ok(about, "0, but a master that is cut off acknowledges no write: no replica has it")
    return warning(
        about,
        "0: a master that is cut off acknowledges writes until it hears of its successor, and all "
        "of them are lost; set min-replicas-to-write 1 and min-replicas-max-lag 10",
    )


def replicas(masters: Sequence[Server], waited_for: int, *, fails_over: bool) -> Iterator[Finding]:
    """Report whether `redis.wait_replicas` suits the replicas that there are.

    Args:
        masters: all of them, after their inspection.
        waited_for: `redis.wait_replicas`.
        fails_over: whether a replica takes over without an operator.
    """
    if not masters:
        return
    counted = [(len(master.replicas()), master.address) for master in masters]
    least, poor = min(counted, key=lambda pair: pair[0])
    most, rich = max(counted, key=lambda pair: pair[0])
    if fails_over and least == 0:
        yield warning("replicas", f"{poor} has none: when it dies, nothing takes its place")
    about = "wait_replicas"
    if waited_for > least:
        yield error(
            about,
            f"{waited_for}, but {poor} has {_count(least)}: every write to it is answered 503; "
            f"add what is missing, or set redis.wait_replicas = {least}",
        )
    elif waited_for < most:
        others = "" if least == most else f"give each master {most} and "
        yield warning(
            about,
            f"{waited_for}, but {rich} has {_count(most)}: a failover to one without the latest "
            f"writes loses them, though acknowledged; {others}set redis.wait_replicas = {most}",
        )
    elif waited_for:
        yield ok(about, f"{waited_for}: what was acknowledged is at every replica")


def disks(master: Server, found: Sequence[Server], settings: RedisSettings) -> Iterator[Finding]:
    """Report whether writes can be confirmed as `redis.wait_for_disk` demands (WAITAOF).

    Args:
        master: a master, after its inspection.
        found: its replicas, inspected as far as they could be reached.
        settings: `[redis]` of the service.
    """
    about = "wait_for_disk"
    servers = [server for server in (master, *found) if server.info]
    mute = [server for server in servers if not _tells_of_its_disk(server)]
    late = [server for server in servers if server.config.get("appendfsync") == "everysec"]
    if master in mute or len(found) - len(mute) < settings.wait_replicas:
        for server in mute:
            yield error(
                about,
                f"{server.address} never confirms that a write is on its disk: writes to "
                f"{master.address} are answered 503; set appendonly yes and appendfsync always",
            )
    elif late:
        in_vain = settings.wait_timeout < _EVERYSEC_CONFIRMS
        yield warning(
            about,
            f"{late[0].address} has appendfsync everysec: writes to {master.address} wait up to a "
            f"second for it{', longer than redis.wait_timeout, and get a 503' if in_vain else ''}; "
            "set appendfsync always on it",
        )


def _tells_of_its_disk(server: Server) -> bool:
    return server.info.get("aof_enabled") == "1" and server.config.get("appendfsync") != "no"


def _count(number: int) -> str:
    return f"{number or 'no'} replica{'' if number == 1 else 's'}"
