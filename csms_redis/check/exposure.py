"""Checks that no password of Redis goes over a network unencrypted."""

from collections.abc import Iterable, Iterator

from csms_redis.access.addresses import is_loopback
from csms_redis.check.finding import Finding, warning
from csms_redis.redis.url import RedisUrl

_ENCRYPTED = {
    "standalone": "rediss://",
    "sentinel": "rediss+sentinel://",
    "cluster": "rediss+cluster://",
}


def exposure(hosts: Iterable[str], url: RedisUrl, *, password: bool) -> Iterator[Finding]:
    """Warn of a password that is sent to another machine without TLS.

    Args:
        hosts: the hosts that the service connects to.
        url: `redis.url`, which says whether TLS is used.
        password: whether a password is sent.
    """
    remote = next((host for host in hosts if not is_loopback(host)), None)
    if password and remote is not None and not url.tls and url.kind in _ENCRYPTED:
        yield warning(
            "tls",
            f"the password goes to {remote} unencrypted, as do the records: use "
            f"{_ENCRYPTED[url.kind]}",
        )
