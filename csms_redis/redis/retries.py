"""When a command tries again after Redis was away: often and long enough to outlast a failover."""

import asyncio

from csms_redis.contract.errors import Unavailable

_PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0)  # seconds, 21 in all; a failover takes less


class Retries:
    """Counts the attempts of one piece of work, and waits before each further one.

    The work itself is the caller's, who asks `wait` after each attempt that failed.
    """

    def __init__(self) -> None:
        """Begin before the first attempt."""
        self._pauses = iter(_PAUSES)

    async def wait(self, failure: Exception) -> bool:
        """Wait before the next attempt, if there is to be one.

        Args:
            failure: of the attempt before.

        Returns:
            False, at once, when the work must be given up: the failure lasts until an operator
            does something, or all attempts are used up.
        """
        lasting = isinstance(failure, Unavailable) and failure.lasting
        pause = None if lasting else next(self._pauses, None)
        if pause is None:
            return False
        await asyncio.sleep(pause)
        return True
