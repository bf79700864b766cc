"""A master, its replicas and the sentinels that watch them."""

import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import hiredis

from tests.support.service import HOST
from tests.support.topologies.node import Address, Node, free_port, quoted
from tests.support.topologies.software import CHOSEN, Software
from tests.support.topologies.topology import ADMIN, TlsMode, Topology, start_together

MASTER = "mymaster"
QUORUM = 2


class SentinelGroup(Topology):
    """One master, two replicas and three sentinels; any number of replicas and sentinels.

    Attributes:
        sentinels: the sentinels' processes.
        sentinel_user: as whom to speak to them, empty for the default user.
        sentinel_password: empty for none.
    """

    def __init__(
        self,
        *,
        replicas: int = 2,
        sentinels: int = 3,
        password: str = "",
        users: Sequence[str] = (),
        sentinel_user: str = "",
        sentinel_password: str = "",
        tls: TlsMode = "",
        proxied: bool = False,
        options: Sequence[str] = (),
        software: Software = CHOSEN,
        down_after: int = 1000,
        failover_timeout: int = 3000,
    ) -> None:
        """Prepare, as `Topology` says.

        Args:
            replicas: how many.
            sentinels: how many; two must agree.
            password: the default user's, on master and replicas.
            users: rules as of ACL SETUSER, on master and replicas.
            sentinel_user: as whom to speak to sentinels, whose default user is off then.
            sentinel_password: its password, or the default user's.
            tls: whether proxies speak TLS, and demand a certificate.
            proxied: whether everyone reaches every node through a proxy, so that it can be cut off.
            options: lines for master's and replicas' configuration.
            software: of every node.
            down_after: milliseconds of silence after which a sentinel believes a node down.
            failover_timeout: in milliseconds; a failed failover is tried again after twice that.
        """
        super().__init__(
            password=password,
            users=users,
            tls=tls,
            proxied=proxied,
            options=options,
            software=software,
        )
        self.sentinels: list[Node] = []
        self.sentinel_user = sentinel_user
        self.sentinel_password = sentinel_password
        self._replicas = replicas
        self._sentinels = sentinels
        self._down_after = down_after
        self._failover_timeout = failover_timeout

    def _start(self) -> None:
        for number in range(1 + self._replicas):
            lines = []
            if number:
                master = self.nodes[0].address
                lines.append(f"replicaof {master.host} {master.port}")
            self._node(f"valkey{number}", *lines, announce="replica-announce")
        self._make_sentinels()
        start_together(self.everyone)
        self.wait_until_settled()

    def _make_sentinels(self) -> None:
        """Make them as if they knew one another from before: meeting takes them seconds."""
        names = [f"sentinel{number}" for number in range(self._sentinels)]
        own = [Address(HOST, free_port()) for _ in names]
        announced = [
            self._before(name, address) or address for name, address in zip(names, own, strict=True)
        ]
        ids = [secrets.token_hex(20) for _ in names]
        for number, name in enumerate(names):
            lines = [
                *self._monitor(),
                f"sentinel myid {ids[number]}",
                f"sentinel announce-ip {announced[number].host}",
                f"sentinel announce-port {announced[number].port}",
                *(
                    f"sentinel known-sentinel {MASTER} {address.host} {address.port} {id_}"
                    for address, id_ in zip(announced, ids, strict=True)
                    if id_ != ids[number]
                ),
            ]
            node = Node(
                self._home / name,
                *lines,
                mode="sentinel",
                port=own[number].port,
                announced=announced[number],
                software=self.software,
            )
            if self.sentinel_password:
                node.credentials = (self.sentinel_user or "default", self.sentinel_password)
            self.sentinels.append(node)

    def _monitor(self) -> list[str]:
        master, *replicas = self.nodes
        user, password = ADMIN if self._users else ("default", self._password)
        lines = [
            f"sentinel monitor {MASTER} {master.address.host} {master.address.port} {QUORUM}",
            f"sentinel down-after-milliseconds {MASTER} {self._down_after}",
            f"sentinel failover-timeout {MASTER} {self._failover_timeout}",
            f"sentinel parallel-syncs {MASTER} {max(self._replicas, 1)}",
            *(
                f"sentinel known-replica {MASTER} {node.address.host} {node.address.port}"
                for node in replicas
            ),
        ]
        if self._users:
            lines.append(quoted("sentinel", "auth-user", MASTER, user))
        if self._users or self._password:
            lines.append(quoted("sentinel", "auth-pass", MASTER, password))
        if self.sentinel_user:
            rule = ("on", f">{self.sentinel_password}", "~*", "&*", "+@all")
            lines += [
                quoted("user", self.sentinel_user, *rule),
                "user default off",
                quoted("sentinel", "sentinel-user", self.sentinel_user),
                quoted("sentinel", "sentinel-pass", self.sentinel_password),
            ]
        elif self.sentinel_password:
            lines += [quoted("requirepass", self.sentinel_password)]
        return lines

    @property
    def everyone(self) -> list[Node]:
        """Master, replicas and sentinels."""
        return [*self.nodes, *self.sentinels]

    @property
    def url(self) -> str:
        """`redis+sentinel://`, with the master's password (`sentinel_user` is set elsewhere)."""
        return self.url_as("", self._password)

    def url_as(self, user: str, password: str) -> str:
        """The URL with another user of the master."""
        return self._url("+sentinel", user, password, self.sentinels, f"/{MASTER}")

    @property
    def settings(self) -> dict[str, str]:
        """As `Topology` says, with the sentinels' user."""
        settings = super().settings
        if self.sentinel_user:
            settings["redis__sentinel_username"] = self.sentinel_user
        if self.sentinel_password:
            secret = self._home / "sentinel-password"
            secret.write_text(self.sentinel_password, "utf-8")
            settings["redis__sentinel_password_file"] = str(secret)
        return settings

    def agreed(self) -> Address | None:
        """The master's address on which a majority of all sentinels agrees."""
        said: Counter[Address] = Counter()
        for sentinel in self.sentinels:
            with suppress(OSError, hiredis.ReplyError):
                host, port = sentinel.call(
                    "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER, timeout=0.5
                )
                said[Address(host, int(port))] += 1
        address, votes = said.most_common(1)[0] if said else (None, 0)
        return address if votes > len(self.sentinels) / 2 else None

    def find_master(self) -> Node | None:
        """The node on which a majority agrees and that is a master."""
        address = self.agreed()
        node = next((node for node in self.nodes if node.address == address), None)
        return node if node and node.alive and node.role() == "master" else None

    def master(self) -> Node:
        """The master, once there is one."""
        self.wait_for_master()
        node = self.find_master()
        assert node is not None, self.state
        return node

    def replicas(self) -> list[Node]:
        """All nodes but the master."""
        master = self.master()
        return [node for node in self.nodes if node is not master]

    def has_master(self) -> bool:
        """Whether a majority of the sentinels agrees on a master, and it is one."""
        return self.find_master() is not None

    def wait_for_new_master(self, old: Node) -> Node:
        """Wait until another node is the master, and give it."""
        self.wait_until(lambda: self.find_master() not in {None, old}, f"{old.name} is replaced")
        return self.master()

    def settled(self) -> bool:
        """Whether all replicas follow the master, and all sentinels see all of it."""
        master = self.find_master()
        if master is None or not all(self._sees_all(sentinel) for sentinel in self.sentinels):
            return False
        return all(node.link_up for node in self.nodes if node is not master)

    def _sees_all(self, sentinel: Node) -> bool:
        try:
            flat = sentinel.call("SENTINEL", "MASTER", MASTER, timeout=0.5)
            replicas = sentinel.call("SENTINEL", "REPLICAS", MASTER, timeout=0.5)
        except (OSError, hiredis.ReplyError):
            return False
        known = dict(zip(flat[::2], flat[1::2], strict=True))
        flags = [dict(zip(one[::2], one[1::2], strict=True))["flags"] for one in replicas]
        return (
            known["flags"] == "master"
            and int(known["num-other-sentinels"]) == len(self.sentinels) - 1
            and flags == ["slave"] * self._replicas
            and Address(known["ip"], int(known["port"])) == self.agreed()
        )

    def fail_over(self) -> Node:
        """Have the sentinels replace the master in good order, and give the new one."""
        old = self.master()
        self.sentinels[0].call("SENTINEL", "FAILOVER", MASTER)
        return self.wait_for_new_master(old)

    def rolling_restart(self) -> None:
        """Restart every data node, one when the other is back; the master last, replaced first."""
        for node in self.replicas():
            node.restart()
            self.wait_until_settled()
        old = self.master()
        self.fail_over()
        self.wait_until_settled()
        old.restart()
        self.wait_until_settled()
