"""What a server was found to be able to do, besides reading."""

from csms_redis.lookup.reading.read_connection import ConnectionBroken


class Abilities:
    """Remembers whether a server speaks RESP3, and on which commands it hung up.

    A proxy such as twemproxy hangs up on what it does not know, and always does. A server that
    ended or was demoted at that moment does not, and is not to be without a near cache for it. So a
    command is left out only after the server hung up on it, answered without it, was asked again,
    and hung up again.
    """

    def __init__(self) -> None:
        """Believe that it can do everything."""
        self.speaks_resp3 = True
        self.left_out: frozenset[str] = frozenset()
        """The commands on which it hung up, and that it is not asked now."""
        self._hung_up_before = False  # and it answered without them

    def may_be_asked(self, command: str) -> bool:
        """Whether a command is to be sent."""
        return command not in self.left_out

    def hung_up_on(self, command: str) -> None:
        """Leave a command out in the next attempt."""
        self.left_out |= {command}

    def answered(self) -> None:
        """It has answered all that it was asked.

        Raises:
            ConnectionBroken: it is to be asked everything once more.
        """
        if not self.left_out:
            self._hung_up_before = False
        elif not self._hung_up_before:
            self._hung_up_before = True
            self.ask_everything()
            raise ConnectionBroken("it is asked again")

    def ask_everything(self) -> None:
        """Leave nothing out in the next attempt."""
        self.left_out = frozenset()
