"""Whether an acknowledged write outlives its master: what replicas there are and must confirm."""

from collections.abc import Iterator, Sequence

from csms_redis.check.finding import Finding, error, ok, warning
from csms_redis.check.look import Look
from csms_redis.settings import RedisSettings

_LATE = 1.5
"""Seconds within which what appendfsync everysec keeps is on the disk, and a replica says so."""


def cut_off(master: Look, waited_for: int) -> Finding:
    """Say whether a master that is cut off from its replicas goes on acknowledging writes.

    Args:
        master: behind sentinels.
        waited_for: `redis.wait_replicas`.
    """
    about = "min-replicas"
    wanted = master.config.get("min-replicas-to-write")
    lag = master.config.get("min-replicas-max-lag")
    if wanted is None:
        return warning(about, "not told: see that min-replicas-to-write is 1 or more")
    if "0" not in {wanted, lag}:
        return ok(about, f"{wanted}: a master that is cut off refuses writes after {lag} s")
    if 0 < len(master.replicas()) <= waited_for:
        return ok(about, "0, but what a master that is cut off is sent is not acknowledged either")
    return warning(
        about,
        "0: a master that is cut off acknowledges writes until it hears of its successor, and all "
        "of them are lost; set min-replicas-to-write 1 and min-replicas-max-lag 10",
    )


def replicas(masters: Sequence[Look], waited_for: int, *, fails_over: bool) -> Iterator[Finding]:
    """Say what `redis.wait_replicas` makes of the replicas that there are.

    Args:
        masters: that were looked at.
        waited_for: `redis.wait_replicas`.
        fails_over: whether a replica is to take over by itself.
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


def disks(master: Look, found: Sequence[Look], settings: RedisSettings) -> Iterator[Finding]:
    """Say whether writes can be confirmed as `redis.wait_for_disk` wants it (WAITAOF).

    Args:
        master: that was looked at.
        found: its replicas, looked at as far as that worked.
        settings: of the service.
    """
    about = "wait_for_disk"
    looks = [look for look in (master, *found) if look.info]
    mute = [look for look in looks if not _tells_of_its_disk(look)]
    late = [look for look in looks if look.config.get("appendfsync") == "everysec"]
    if master in mute or len(found) - len(mute) < settings.wait_replicas:
        for look in mute:
            yield error(
                about,
                f"{look.address} never confirms that a write is on its disk: writes to "
                f"{master.address} are answered 503; set appendonly yes and appendfsync always",
            )
    elif late:
        in_vain = settings.wait_timeout < _LATE
        yield warning(
            about,
            f"{late[0].address} has appendfsync everysec: writes to {master.address} wait up to a "
            f"second for it{', longer than redis.wait_timeout, and get a 503' if in_vain else ''}; "
            "set appendfsync always on it",
        )


def _tells_of_its_disk(look: Look) -> bool:
    return look.info.get("aof_enabled") == "1" and look.config.get("appendfsync") != "no"


def _count(number: int) -> str:
    return f"{number or 'no'} replica{'' if number == 1 else 's'}"
