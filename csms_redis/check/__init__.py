"""`csms-redis check`: would the service work, and would it keep the writes that it acknowledges?"""

from csms_redis.check.finding import Finding, Level
from csms_redis.check.report import check

__all__ = ["Finding", "Level", "check"]
