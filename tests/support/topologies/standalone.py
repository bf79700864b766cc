"""One Valkey by itself."""

from collections.abc import Sequence

from tests.conftest import segment
from tests.support.service import HOST
from tests.support.topologies.node import Address, Node, free_port
from tests.support.topologies.proxy import Proxy
from tests.support.topologies.software import CHOSEN, Software
from tests.support.topologies.topology import TlsMode, Topology

IPV6 = "::1"


class Standalone(Topology):
    """One Valkey: over TCP, over TLS on a port of its own, over IPv6 or a Unix socket."""

    def __init__(
        self,
        *,
        password: str = "",
        users: Sequence[str] = (),
        tls: TlsMode = "",
        proxied: bool = False,
        options: Sequence[str] = (),
        software: Software = CHOSEN,
        ipv6: bool = False,
        unix: bool = False,
        db: int = 0,
    ) -> None:
        """Prepare, as `Topology` says.

        Args:
            password: the default user's.
            users: rules as of ACL SETUSER.
            tls: whether there is only TLS, and demands a certificate.
            proxied: whether clients reach it through a proxy.
            options: lines of the configuration.
            software: of the server.
            ipv6: whether it listens on ::1 instead.
            unix: whether the URL names its Unix socket.
            db: the database that the URL names.
        """
        super().__init__(
            password=password,
            users=users,
            tls=tls,
            proxied=proxied,
            options=options,
            software=software,
        )
        self._host = IPV6 if ipv6 else HOST
        self._unix = unix
        self._db = db

    def _start(self) -> None:
        lines = [f"unixsocket {self.socket}", "unixsocketperm 700"] if self._unix else []
        self._node("valkey", *lines, host=self._host).start()

    def _before(self, name: str, own: Address) -> Address | None:
        if self._proxies is None:
            return None
        address = Address(own.host, free_port())
        proxy: Proxy = self._proxies.add(address, own, tls=self._tls_context(), plain=not self._tls)
        self._proxy[name] = proxy
        return address

    @property
    def node(self) -> Node:
        """The one."""
        return self.nodes[0]

    def master(self) -> Node:
        """The one."""
        return self.node

    def replicas(self) -> list[Node]:
        """None."""
        return []

    @property
    def socket(self) -> str:
        """The path of its Unix socket."""
        return str(self._home / "valkey.sock")

    @property
    def url(self) -> str:
        """`redis://`, `rediss://` or `unix://`."""
        return self.url_as("", self._password)

    def url_as(self, user: str, password: str) -> str:
        """The URL with another user."""
        if not self._unix:
            return self._url("", user, password, [self.node], f"/{self._db}")
        secret = f"{segment(user)}:{segment(password)}@" if user or password else ""
        return f"unix://{secret}{self.socket}?db={self._db}"

    def has_master(self) -> bool:
        """Whether it answers."""
        return self.node.alive and self.node.role() == "master"

    def settled(self) -> bool:
        """Whether it answers."""
        return self.has_master()
