"""Whether the service would run well, and keep what it acknowledges: `csms-redis check`."""

from csms_redis.check.finding import Finding, Level
from csms_redis.check.report import check

__all__ = ["Finding", "Level", "check"]
