"""A cluster: masters that share the slots, each with replicas."""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations

import hiredis
from redis.crc import key_slot

from tests.support.topologies.cluster_view import Known, known_from
from tests.support.topologies.node import Node, Word, free_port
from tests.support.topologies.software import CHOSEN, Software
from tests.support.topologies.topology import TlsMode, Topology, start_together

SLOTS = 16384


class ClusterGroup(Topology):
    """Three masters and three replicas; any number of both."""

    def __init__(
        self,
        *,
        masters: int = 3,
        replicas: int = 1,
        password: str = "",
        users: Sequence[str] = (),
        tls: TlsMode = "",
        proxied: bool = False,
        options: Sequence[str] = (),
        software: Software = CHOSEN,
        node_timeout: int = 1000,
        full_coverage: bool = True,
    ) -> None:
        """Prepare, as `Topology` says.

        Args:
            masters: how many.
            replicas: how many for each master.
            password: the default user's.
            users: rules as of ACL SETUSER.
            tls: whether proxies speak TLS, and demand a certificate.
            proxied: whether clients and replicas reach nodes through proxies; the bus does not.
            options: lines for every node's configuration.
            software: of every node.
            node_timeout: milliseconds of silence after which a node is believed down.
            full_coverage: whether one slot without a master stops them all.
        """
        super().__init__(
            password=password,
            users=users,
            tls=tls,
            proxied=proxied,
            options=options,
            software=software,
        )
        self._masters = masters
        self._replicas = replicas
        self._node_timeout = node_timeout
        self._full_coverage = full_coverage
        self._made = 0
        self._bus: dict[str, int] = {}
        self._ids: dict[str, str] = {}
        self._removed: list[Node] = []

    def _start(self) -> None:
        nodes = [self._member() for _ in range(self._masters * (1 + self._replicas))]
        start_together(nodes)
        self._ids = {node.name: node.call("CLUSTER", "MYID") for node in nodes}
        masters, replicas = nodes[: self._masters], nodes[self._masters :]
        for number, master in enumerate(masters):
            first, last = (SLOTS * at // len(masters) for at in (number, number + 1))
            master.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            master.call("CLUSTER", "ADDSLOTS", *range(first, last))
        for one, other in combinations(nodes, 2):
            self._meet(one, other)
        self.wait_until(lambda: self._acquainted(nodes), "all nodes have met")
        for number, replica in enumerate(replicas):
            self._follow(replica, masters[number % len(masters)])
        self.wait_until_settled()

    def _member(self) -> Node:
        name = f"valkey{self._made}"
        self._made += 1
        lines = [
            "cluster-enabled yes",
            f"cluster-node-timeout {self._node_timeout}",
            f"cluster-require-full-coverage {'yes' if self._full_coverage else 'no'}",
        ]
        if self._chooses_bus:
            lines += [
                "cluster-allow-replica-migration no",
                f"cluster-port {self._bus.setdefault(name, free_port())}",
            ]
        return self._node(name, *lines, announce="cluster-announce" if self._proxied else "")

    def _free_port(self) -> int:
        return free_port(above=0 if self._chooses_bus else 10000)

    @property
    def _chooses_bus(self) -> bool:
        """Whether the port of a node's bus can be chosen; else it is 10,000 above its own."""
        return self.software.version >= (7,)

    def _meet(self, one: Node, other: Node) -> None:
        bus = [self._bus[other.name]] if self._chooses_bus else []
        one.call("CLUSTER", "MEET", other.own.host, other.own.port, *bus)

    def _acquainted(self, nodes: Iterable[Node]) -> bool:
        ports = {node.address.port for node in nodes}
        return all(
            ports <= {known.port for known in self.view(node) if known.linked}
            and not any("handshake" in known.flags for known in self.view(node))
            for node in nodes
        )

    def _follow(self, replica: Node, master: Node) -> None:
        id_ = self.id(master)
        knows = lambda: any(known.id == id_ for known in self.view(replica))  # noqa: E731
        self.wait_until(knows, f"{replica} knows {master}")
        replica.call("CLUSTER", "REPLICATE", id_)

    @property
    def url(self) -> str:
        """`redis+cluster://`, with all nodes."""
        return self.url_as("", self._password)

    def url_as(self, user: str, password: str) -> str:
        """The URL with another user."""
        return self._url("+cluster", user, password, self.nodes, "")

    def id(self, node: Node) -> str:
        """Its name in the cluster, which outlives restarts."""
        return self._ids[node.name]

    def view(self, node: Node) -> list[Known]:
        """The cluster as a node sees it; empty when it does not answer."""
        try:
            lines = str(node.call("CLUSTER", "NODES", timeout=0.5)).splitlines()
        except (OSError, hiredis.ReplyError):
            return []
        return [known_from(line) for line in lines if "noaddr" not in line]

    def owners(self, node: Node) -> dict[tuple[int, int], str]:
        """Which id owns each range of slots, as a node sees it, failed masters included."""
        return {slots: known.id for known in self.view(node) for slots in known.slots}

    def _answering(self) -> list[Node]:
        return [node for node in self.nodes if node.alive and node.answers()]

    def _find(self, id_: str) -> Node | None:
        return next((node for node in self.nodes if self._ids[node.name] == id_), None)

    def find_master(self, slot: int) -> Node | None:
        """The owner of a slot as most answering nodes see it, if it answers as a master."""
        views = [self.owners(node) for node in self._answering()]
        said = [
            id_ for view in views for (first, last), id_ in view.items() if first <= slot <= last
        ]
        if not said:
            return None
        node = self._find(max(set(said), key=said.count))
        return node if node is not None and node.alive and node.role() == "master" else None

    def master(self, slot: int = 0) -> Node:
        """The master of a slot, once it has one."""
        self.wait_until(lambda: self.find_master(slot) is not None, f"slot {slot} has a master")
        node = self.find_master(slot)
        assert node is not None, self.state
        return node

    def master_of(self, key: str) -> Node:
        """The master of a key, once it has one."""
        return self.master(key_slot(key.encode()))

    def by_master(self, keys: Iterable[str]) -> dict[Node, list[str]]:
        """Which master has which of the keys, as one of them sees it."""
        nodes = {self.id(node): node for node in self.nodes}
        by_slot = {
            slot: nodes[id_]
            for (first, last), id_ in self.owners(self.master()).items()
            for slot in range(first, last + 1)
        }
        found: dict[Node, list[str]] = {}
        for key in keys:
            found.setdefault(by_slot[key_slot(key.encode())], []).append(key)
        return found

    def masters(self) -> list[Node]:
        """The nodes that are masters, with slots or without."""
        return [node for node in self.nodes if node.alive and node.role() == "master"]

    def replicas(self, master: Node | None = None) -> list[Node]:
        """The replicas, all or one master's."""
        found = []
        for node in self.nodes:
            myself = next((one for one in self.view(node) if "myself" in one.flags), None)
            if (
                myself
                and myself.master != "-"
                and (master is None or myself.master == self.id(master))
            ):
                found.append(node)
        return found

    def has_master(self) -> bool:
        """Whether every node that answers knows a working master for every slot."""
        answering = self._answering()
        if len(answering) <= self._masters // 2:
            return False
        alive = {self.id(node) for node in answering if node.role() == "master"}
        return all(self._state_ok(node) and self._covered(node, alive) for node in answering)

    @staticmethod
    def _state_ok(node: Node) -> bool:
        try:
            return "cluster_state:ok" in node.call("CLUSTER", "INFO", timeout=0.5)
        except (OSError, hiredis.ReplyError):
            return False

    def _covered(self, node: Node, alive: set[str]) -> bool:
        owners = self.owners(node)
        return (
            set(owners.values()) <= alive
            and sum(last - first + 1 for first, last in owners) == SLOTS
        )

    def wait_for_new_master(self, old: Node, slot: int) -> Node:
        """Wait until another node is a slot's master and every slot has one; give the former."""
        self.wait_until(
            lambda: self.find_master(slot) not in {None, old} and self.has_master(),
            f"{old.name} is replaced",
        )
        return self.master(slot)

    def settled(self) -> bool:
        """Whether all nodes agree on who owns what, see each other, and all replicas follow."""
        if not self.has_master():
            return False
        views = [self.view(node) for node in self.nodes]
        said = {
            frozenset((known.id, known.slots, known.master) for known in view) for view in views
        }
        return (
            len(said) == 1
            and not any(known.moving for view in views for known in view)
            and all(
                not known.flags & {"fail", "fail?", "handshake"} and known.linked
                for view in views
                for known in view
            )
            and all(node.link_up for node in self.nodes if node.role() == "slave")
        )

    def fail_over(self, slot: int = 0) -> Node:
        """Have a slot's master hand over to its replica in good order, and give the new one."""
        old = self.master(slot)
        self.replicas(old)[0].call("CLUSTER", "FAILOVER")
        return self.wait_for_new_master(old, slot)

    @staticmethod
    def _is_replica(node: Node) -> bool:
        return node.role() == "slave"

    def rolling_restart(self) -> None:
        """Restart every node, one when the other is back; masters are replaced before."""
        for node in list(self.nodes):
            if node.role() == "master" and self.replicas(node):
                self.replicas(node)[0].call("CLUSTER", "FAILOVER")
                self.wait_until(partial(self._is_replica, node), f"{node} handed over")
                self.wait_until_settled()
            node.restart()
            self.wait_until_settled()

    def add_node(self, *, replica_of: Node | None = None) -> Node:
        """Add a master without slots, or a replica."""
        settled = list(self.nodes)
        node = self._member()
        node.start()
        self._ids[node.name] = node.call("CLUSTER", "MYID")
        for other in settled:
            if other.alive:
                self._meet(node, other)
        self.wait_until(lambda: self._acquainted(self._answering()), f"all know {node}")
        if replica_of is not None:
            self._follow(node, replica_of)
        self.wait_until_settled()
        return node

    def remove_node(self, node: Node) -> None:
        """Take out a node that owns no slots and that nobody follows, and end it."""
        id_ = self.id(node)
        self.nodes.remove(node)
        self._removed.append(node)
        for other in self.nodes:
            if other.alive:
                other.call("CLUSTER", "FORGET", id_)
        node.kill()
        self.wait_until(
            lambda: not any(known.id == id_ for other in self.nodes for known in self.view(other)),
            f"{node} is forgotten",
        )

    @property
    def everyone(self) -> list[Node]:
        """All processes, also those that were taken out."""
        return [*self.nodes, *self._removed]

    def begin_migration(self, slot: int, source: Node, target: Node) -> None:
        """From here the source answers ASK for keys of the slot that it does not have."""
        target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id(source))
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id(target))

    def move_keys(self, slot: int, source: Node, target: Node, count: int = 10) -> int:
        """Move some keys of a slot by MIGRATE, and give how many there were to move."""
        keys: list[str] = source.call("CLUSTER", "GETKEYSINSLOT", slot, count)
        if keys:
            user, password = source.credentials or ("", "")
            login = ["AUTH2", user, password] if password else []
            words: list[Word] = [
                "MIGRATE",
                target.own.host,
                target.own.port,
                "",
                0,
                5000,
                *login,
                "KEYS",
            ]
            source.call(*words, *keys)
        return len(keys)

    def end_migration(self, slot: int, source: Node, target: Node) -> None:
        """Give the slot to the target: first it says so itself, then the others hear it."""
        id_ = self.id(target)
        masters = [node for node in self.masters() if node not in {source, target}]
        for node in (target, source, *masters):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", id_)
        self.wait_until_owned(slot, target)

    def migrate_slot(
        self, slot: int, source: Node, target: Node, *, batch: int = 10, pace: float = 0
    ) -> None:
        """Move a slot with its keys, as `valkey-cli --cluster reshard` does.

        Args:
            slot: which.
            source: its master.
            target: the master that gets it.
            batch: how many keys move at once.
            pace: seconds between two batches, while readers meet ASK, and TRYAGAIN.
        """
        self.begin_migration(slot, source, target)
        while self.move_keys(slot, source, target, batch):
            time.sleep(pace)
        self.end_migration(slot, source, target)

    def migrate_slots(self, first: int, last: int, source: Node, target: Node) -> None:
        """Move a range of slots by Valkey 9's CLUSTER MIGRATESLOTS: all at once, without ASK."""
        self.software.must_know("CLUSTER MIGRATESLOTS")
        source.call("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", first, last, "NODE", self.id(target))
        self.wait_until_owned(first, target)

    def wait_until_owned(self, slot: int, owner: Node) -> None:
        """Wait until every node that answers knows who owns a slot."""
        id_ = self.id(owner)
        self.wait_until(
            lambda: all(
                any(low <= slot <= high and id_ == said for (low, high), said in view.items())
                for view in map(self.owners, self._answering())
            ),
            f"{owner} owns slot {slot}",
        )

    def empty(self, node: Node, *, atomically: bool = True) -> None:
        """Move all slots of a master to another one, so that it can be removed.

        Args:
            node: the master.
            atomically: by MIGRATESLOTS, else slot by slot.
        """
        target = next(one for one in self.masters() if one is not node and self.slots(one))
        for first, last in self.slots(node):
            if atomically:
                self.migrate_slots(first, last, node, target)
            else:
                for slot in range(first, last + 1):
                    self.migrate_slot(slot, node, target)

    def slots(self, node: Node) -> list[tuple[int, int]]:
        """First and last of each range that a node owns, as it says itself."""
        return [slots for slots, id_ in self.owners(node).items() if id_ == self.id(node)]
