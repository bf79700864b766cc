"""What every topology has: nodes that start and end with it, perhaps proxies, perhaps TLS."""

import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self, TypeAlias

from tests.conftest import segment, short_directory
from tests.support.service import HOST, until
from tests.support.topologies.authority import Authority, Pair
from tests.support.topologies.node import Address, Node, free_port, quoted, replicated
from tests.support.topologies.proxy import Proxies, Proxy
from tests.support.topologies.software import CHOSEN, Software

TlsMode: TypeAlias = Literal["", "server", "mutual"]
PATIENCE = 30.0  # seconds until something that should happen is given up

ADMIN = ("admin", "admin")
"""The user as whom `Node.call` speaks to a node that has users."""


class Topology(ABC):
    """Valkeys that belong together; they end with the block.

    Attributes:
        nodes: the servers that keep data.
        software: which program they are.
        authority: who issued the certificates, with TLS.
        client: a client's certificate, with TLS; `mutual` demands it.
    """

    authority: Authority
    client: Pair

    def __init__(
        self,
        *,
        password: str = "",
        users: Sequence[str] = (),
        tls: TlsMode = "",
        proxied: bool = False,
        options: Sequence[str] = (),
        software: Software = CHOSEN,
    ) -> None:
        """Prepare; the block starts it.

        Args:
            password: the default user's.
            users: rules as of ACL SETUSER, as in `"gateway on >secret ~cs:* +get"`.
            tls: whether proxies speak TLS, and demand a certificate; `rediss` in the URL.
            proxied: whether everyone reaches each node through a proxy of its own.
            options: lines for every data node's configuration.
            software: of every node.
        """
        self.software = software
        self.nodes: list[Node] = []
        self._password = password
        self._users = users
        self._tls = tls
        self._proxied = proxied or bool(tls)
        self._options = options
        self._running = ExitStack()
        self._proxies: Proxies | None = None
        self._proxy: dict[str, Proxy] = {}
        self._home: Path

    def __enter__(self) -> Self:
        with ExitStack() as running:
            self._home = running.enter_context(short_directory())
            if self._proxied:
                self._proxies = running.enter_context(Proxies())
            if self._tls:
                self.authority = Authority(self._home / "tls")
                self.client = self.authority.issue("client")
            running.callback(self._end)
            self._start()
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _end(self) -> None:
        for node in self.everyone:
            node.kill()

    @abstractmethod
    def _start(self) -> None:
        """Start the nodes and wait until they are a whole."""

    @property
    @abstractmethod
    def url(self) -> str:
        """As `redis.url` takes it, with the default user's password."""

    @abstractmethod
    def url_as(self, user: str, password: str) -> str:
        """The URL with another user."""

    @abstractmethod
    def master(self) -> Node:
        """The master, in a cluster one of them, once there is one."""

    def by_master(self, keys: Iterable[str]) -> dict[Node, list[str]]:
        """Which master has which of the keys, there being masters."""
        return {self.master(): list(keys)}

    @property
    def settings(self) -> dict[str, str]:
        """The service's settings for it, as `running_service` takes them."""
        settings = {"redis__url": self.url}
        if self._tls:
            settings["redis__tls_ca_file"] = str(self.authority.ca)
        if self._tls == "mutual":
            settings["redis__tls_cert_file"] = str(self.client.certificate)
            settings["redis__tls_key_file"] = str(self.client.key)
        return settings

    @abstractmethod
    def has_master(self) -> bool:
        """Whether every key has a master that takes writes, known to those who are asked for it."""

    @abstractmethod
    def settled(self) -> bool:
        """Whether `has_master`, and all that should replicate does, so that faults may begin."""

    @property
    def everyone(self) -> list[Node]:
        """All processes."""
        return self.nodes

    def wait_until(
        self, condition: Callable[[], bool], what: str, *, seconds: float = PATIENCE
    ) -> None:
        """Wait for a condition.

        Raises:
            AssertionError: with the topology's state.
        """
        try:
            until(condition, what, seconds=seconds)
        except AssertionError as error:
            error.add_note(self.state)
            raise

    def wait_for_master(self) -> None:
        """Wait until `has_master`."""
        self.wait_until(self.has_master, "there is a master")

    def wait_until_settled(self) -> None:
        """Wait until `settled`."""
        self.wait_until(self.settled, "the topology is whole")

    @property
    def state(self) -> str:
        """Who plays which role, for messages."""
        return ", ".join(f"{node}: {node.role() or 'no answer'}" for node in self.everyone)

    def cut(self, node: Node) -> None:
        """Cut a node off, as `Proxy.cut` says; the topology must be `proxied`."""
        self._proxy[node.name].cut()

    def heal(self, node: Node) -> None:
        """Take back `cut`."""
        self._proxy[node.name].heal()

    def restart_all(self, *, kill: bool = False) -> None:
        """End all data nodes, then start them with their data; does not wait until settled."""
        for node in self.nodes:
            if kill:
                node.kill()
            else:
                node.terminate()
        start_together(self.nodes)

    def _node(self, name: str, *lines: str, host: str = HOST, announce: str = "") -> Node:
        """Make a data node, behind its proxy if it is to have one.

        Args:
            name: of its directory.
            lines: of its configuration.
            host: to listen on.
            announce: what the settings for where others reach it begin with.
        """
        own = Address(host, self._free_port())
        address = self._before(name, own) or own
        announced = [f"{announce}-ip {address.host}", f"{announce}-port {address.port}"]
        node = Node(
            self._home / name,
            *replicated(self.software),
            *self._access(),
            *self._options,
            *lines,
            *(announced if announce else []),
            host=host,
            port=own.port,
            announced=address,
            software=self.software,
        )
        if self._users:
            node.credentials = ADMIN
        elif self._password:
            node.credentials = ("default", self._password)
        self.nodes.append(node)
        return node

    def _free_port(self) -> int:
        return free_port()

    def _access(self) -> list[str]:
        lines = []
        if self._password:
            words = (("requirepass", self._password), ("masterauth", self._password))
            lines += [quoted(*line) for line in words]
        if self._users:
            user, password = ADMIN
            lines += [quoted("user", *rule.split()) for rule in self._users]
            lines += [f"user {user} on >{password} ~* &* +@all"]
            if not self._password:
                lines += [f"masteruser {user}", f"masterauth {password}"]
        return lines

    def _before(self, name: str, own: Address) -> Address | None:
        """Put a proxy before an address, if there are to be any, and give the proxy's."""
        if self._proxies is None:
            return None
        address = Address(own.host, free_port())
        self._proxy[name] = self._proxies.add(address, own, tls=self._tls_context())
        return address

    def _tls_context(self) -> ssl.SSLContext | None:
        if not self._tls:
            return None
        return self.authority.server_context(demands_certificate=self._tls == "mutual")

    def _url(self, scheme: str, user: str, password: str, hosts: Iterable[Node], end: str) -> str:
        secret = f"{segment(user)}:{segment(password)}@" if user or password else ""
        addresses = ",".join(str(node.address) for node in hosts)
        return f"redis{'s' if self._tls else ''}{scheme}://{secret}{addresses}{end}"


def start_together(nodes: Iterable[Node]) -> None:
    """Start them all, then wait until each answers."""
    nodes = list(nodes)
    for node in nodes:
        node.spawn()
    for node in nodes:
        node.wait_until_up()
