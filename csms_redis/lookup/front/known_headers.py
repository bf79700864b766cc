"""Request headers that were read before, so that the same bytes need not be read again.

A gateway sends the same headers with each lookup. To find them here costs one dictionary look-up;
to read them and to check the credentials in them costs many times as much.
"""

from csms_redis.lookup.front.request_heads import without_added
from csms_redis.lookup.front.response_heads import Style

_MOST = 1024  # heads


class KnownHeaders:
    """Headers with which anyone may look up, from wherever, and how to answer to them.

    It keeps only what access control has admitted; what that refuses never comes here. Its owner
    clears it when the clients or their secrets change, and closes it when a drain begins, for then
    each answer has to close its connection.

    Attributes:
        styles: by a request's bytes from its minor version to the empty line: how to answer. The
            hot path looks into it by itself, to spare a call.
    """

    def __init__(self) -> None:
        """Know none."""
        self.styles: dict[bytes, Style] = {}
        self._closed = False

    def recognise(self, headers: bytes) -> Style | None:
        """How to answer to headers that differ from known ones only by what proxies add."""
        style = self.styles.get(without_added(headers))
        if style is not None:
            self.remember(headers, style)
        return style

    def remember(self, headers: bytes, style: Style) -> None:
        """Know headers again that were read, and that access control has admitted."""
        if self._closed:
            return
        if len(self.styles) >= _MOST:
            self.styles.clear()
        self.styles[headers] = style

    def clear(self) -> None:
        """Forget all: access control may decide otherwise from now on."""
        self.styles.clear()

    def close(self) -> None:
        """Forget all, and know nothing again."""
        self._closed = True
        self.styles.clear()
