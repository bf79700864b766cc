"""Checks that the records are stored in a layout that this version knows."""

from redis.exceptions import ResponseError

from csms_redis.check.finding import Finding, error, ok, warning
from csms_redis.contract.errors import Unavailable
from csms_redis.redis.deployment import plain_client
from csms_redis.redis.outcomes import code_of
from csms_redis.redis.topology import Topology
from csms_redis.registry.layout import LAYOUT, Layout, MayNotRead, UnknownLayout
from csms_redis.settings import RedisSettings


async def stored_layout(topology: Topology, settings: RedisSettings) -> Finding:
    """Report the version of the layout, which is stored beside the records."""
    redis = plain_client(settings, topology)
    try:
        version = await Layout(redis, settings.key_prefix.encode()).stored()
    except UnknownLayout as unknown:
        return error("layout", unknown.error)
    except MayNotRead:
        return warning("layout", "the user may not read it: see Rights in deploy/install.md")
    except Unavailable as unavailable:
        cause = unavailable.__cause__
        why = f" ({code_of(cause)})" if isinstance(cause, ResponseError) else ""
        return warning("layout", f"could not be read{why}")
    finally:
        await redis.close()
    if version is None:
        return ok("layout", f"none yet: csms-redis serve makes it {LAYOUT}")
    return ok("layout", f"{version}, which this version knows")
