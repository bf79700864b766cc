"""A cluster: masters that share 16,384 slots, and nodes that each tell how (`CLUSTER NODES`).

Not every node's word is worth the same. A master that was stopped while its replica took over comes
back and names itself, until it hears the news. So each word is weighed by the configuration epoch
of the owner it names, as the nodes themselves do: whoever takes slots over, by failover or by
migration, gets a higher epoch than anyone had before
(https://valkey.io/topics/cluster-spec/#hash-slots-configuration-propagation).
"""

import asyncio
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from math import inf
from time import monotonic

from csms_redis.redis.address import Address
from csms_redis.redis.cluster_map import Claims, ClusterMap, ClusterNode
from csms_redis.redis.cluster_questions import ClusterQuestions
from csms_redis.redis.slots import SLOTS, key_in, slot_of
from csms_redis.redis.topology import Topology

_PHASE = 0.6  # seconds for the known nodes, for the seeds, for those that they name
_NEXT = 0.1  # seconds of silence after which the next node is asked as well
_CONFIRMED_WITHIN = (
    2.0  # seconds without another node's word until more nodes are asked in one look
)

_ENOUGH = 5  # maps in one look, whatever questions they leave

_SILENT = "no node of the cluster answers"


class Cluster(Topology):
    """The masters of a cluster and their slots, kept known by asking one node after another.

    A node's map is used whatever it thinks of the cluster's state. `cluster_state:fail` means that
    slots have no master, which the map shows, or that the node is cut off from most masters; then
    it knows nothing newer than what is known already, and suspects those that it cannot reach, so
    that it confirms none of them.

    A slot never loses its master to nobody: what was read from one that died is stale, but may be
    served until its replica takes over.
    """

    clustered = True

    def __init__(self, seeds: Sequence[Address], *, timeout: float) -> None:
        """Know only where to ask; nothing is sent yet.

        Args:
            seeds: some nodes, or names that stand for many. All nodes are spoken to as the seeds
                are: TLS, user and password.
            timeout: seconds for a node to be reached and to answer.
        """
        super().__init__()
        self._seeds = tuple(seeds)
        self._slots: list[Address | None] = [None] * SLOTS
        self._owners = [""] * SLOTS  # ids of nodes
        self._epochs: dict[str, int] = {}  # highest heard of, by id
        self._addresses: dict[str, Address] = {}  # by id
        self._aliases: dict[Address, Address] = {}
        self._moved: dict[int, tuple[Address, float]] = {}  # what no map has shown yet, since when
        self._learned: Claims | None = None  # of the last map, if it was wholly believed
        self._owning: set[str] = set()  # of them, each once
        self._spares: list[Address] = []  # masters that may have no slots yet
        self._confirmed: dict[Address, float] = {}
        self._samples: dict[tuple[Address, bytes], bytes | None] = {}
        self._nodes: list[Address] = []  # the next to be asked first
        self._suggested: Address | None = None  # the one to be asked first of all, once
        self._questions = ClusterQuestions(self._seeds, timeout=timeout)

    def __str__(self) -> str:
        """The URL for people, without users and passwords."""
        seeds = ",".join(seed.host_and_port for seed in self._seeds)
        return f"redis{'s' if self._seeds[0].tls else ''}+cluster://{seeds}"

    def owner(self, key: bytes) -> Address | None:
        """The master of the key's slot."""
        return self._slots[slot_of(key)]

    def confirmed(self, master: Address) -> float:
        """When a question left that another node answered with this master, healthy and with slots.

        A master's own word counts where no other node lives.
        """
        return self._confirmed.get(master, -inf)

    def share(self, masters: Collection[Address]) -> float:
        """Which part of the slots belongs to some of the masters."""
        # by identity: to compare 16,384 addresses takes its time
        slots = Counter(map(id, self._slots))
        addresses = {id(address): address for address in self._slots}
        return sum(slots[one] for one, address in addresses.items() if address in masters) / SLOTS

    def masters_of(self, slots: Collection[int]) -> Collection[Address]:
        """The masters of some slots."""
        # by identity, as in `share`
        owners = {id(owner): owner for owner in map(self._slots.__getitem__, slots)}
        return [owner for owner in owners.values() if owner is not None]

    def slots_of(self, master: Address) -> set[int]:
        """The slots of a master."""
        return {
            slot for slot, owner in enumerate(self._slots) if owner is master or owner == master
        }

    def sample_key(self, master: Address, start: bytes) -> bytes | None:
        """A key that begins with `start` in one of the master's slots.

        None where it has none, or `start` contains a hash tag of another master's.
        """
        if (master, start) not in self._samples:
            slots = self._slots
            owned = [address == master for address in slots]
            found = key_in(start, owned.__getitem__) if any(owned) else None
            self._samples[master, start] = found
        return self._samples[master, start]

    def canonical(self, address: Address) -> Address:
        """A node's address in `masters`, for the one by which MOVED or ASK may call it."""
        return self._aliases.get(address, address)

    def moved(self, key: bytes, to: Address) -> None:
        """Believe it until the next map, for which the slot's new master is asked first."""
        to = self.canonical(to)
        slot = slot_of(key)
        if self._slots[slot] != to:
            self._moved[slot] = to, monotonic()
            self._slots[slot] = to
            self._samples.clear()
            if to not in self.masters:
                self.masters = _sorted([*self.masters, to])
            self._notify({slot})
        self._suggested = to
        self.doubt()

    @property
    def own_connections(self) -> int:
        """The number of connections: one to each node, and to each seed."""
        return len(self._nodes) + len(self._seeds)

    async def look(self) -> None:
        """Ask until a node knows all slots and each master is confirmed; two seconds at most."""
        began = monotonic()
        maps: list[ClusterMap] = []
        problems: list[str] = []
        first = [self._suggested] if self._suggested else []
        self._suggested = None
        known = list(dict.fromkeys([*first, *self._nodes]))
        if not await self._ask_in_turn(known, maps, problems):
            seeds = [seed for seed in await self._questions.resolved(problems) if seed not in known]
            if not await self._ask_in_turn(seeds, maps, problems):
                named = {node.address for said in maps for node in said.nodes if node.live}
                await self._ask_in_turn(_sorted(named - {*known, *seeds}), maps, problems)
        if maps:
            best = min(reversed(maps), key=lambda said: said.missing)
            self._ask_next_time(best)
            self.problem = self._problem(best, began)
            self.orphaned = best.missing / SLOTS
        else:
            self.problem = next((problem for problem in problems if problem), _SILENT)
        await self._questions.keep(self._nodes)

    def _ask_next_time(self, said: ClusterMap) -> None:
        """Plan the next looks: all nodes of this map in turn, the node that gave it last."""
        if self._nodes and said.missing == SLOTS:
            return  # it was taken out of the cluster
        nodes = [node for node in said.nodes if node.live]
        after = [node.address for node in nodes if node.id > said.myself]
        self._nodes = after + [node.address for node in nodes if node.id <= said.myself]

    def _problem(self, said: ClusterMap, began: float) -> str | None:
        if said.missing:
            return f"{said.missing} of {SLOTS} slots have no master"
        unconfirmed = self._unconfirmed(began)
        if unconfirmed:
            return f"no other node of the cluster confirms {unconfirmed[0].host_and_port}"
        return None

    def _unconfirmed(self, now: float) -> list[Address]:
        return [one for one in self.masters if self.confirmed(one) < now - _CONFIRMED_WITHIN]

    async def close(self) -> None:
        """Close the connections to the nodes."""
        await self._questions.close()

    # Asking

    async def _ask_in_turn(
        self, nodes: Sequence[Address], maps: list[ClusterMap], problems: list[str]
    ) -> bool:
        """Learn from nodes until no question is left, or many gave no answer to it; whether so.

        The next is asked when one has failed, left a question or not answered for a moment.
        """
        waiting = deque(nodes)
        patience = min(_NEXT, _PHASE / 2 / max(1, len(nodes)))
        asked: set[asyncio.Task[ClusterMap | str]] = set()
        deadline = monotonic() + _PHASE
        try:
            while waiting or asked:
                if waiting:
                    asked.add(asyncio.create_task(self._questions.ask(waiting.popleft())))
                left = deadline - monotonic()
                done, asked = await asyncio.wait(
                    asked,
                    timeout=min(patience, left) if waiting else left,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for answer in [task.result() for task in done]:
                    if isinstance(answer, str):
                        problems.append(answer)
                    else:
                        maps.append(answer)
                        believed = self._learn(answer)
                        if believed and not answer.missing and not self._unconfirmed(answer.asked):
                            return True
                if len(maps) >= _ENOUGH:
                    return True
                if monotonic() >= deadline:
                    break
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        return False

    # Learning

    def _learn(self, said: ClusterMap) -> bool:
        """Take over what is news in a node's map; whether nothing in it was outdated."""
        overtaken = [slot for slot, (_, since) in self._moved.items() if since <= said.asked]
        for slot in overtaken:
            del self._moved[slot]
        believed = True
        if overtaken or said.claims != self._learned:
            believed = self._take_over(said)
            self._learned = said.claims if believed else None
            if believed and said.missing < SLOTS:  # a node that was taken out knows itself only
                # one to which a first slot is being moved is read from before it owns it
                self._spares = [self._addresses[one.id] for one in said.nodes if one.leads]
            self._settle({node.id for node in said.nodes})
        self._confirm(said)
        return believed

    def _take_over(self, said: ClusterMap) -> bool:
        """Learn from a map which node owns which slot; whether all of the map was believed."""
        theirs = {node.id: node for node in said.nodes}
        outdated: dict[tuple[str, str], bool] = {}
        for node in said.nodes:
            for slot in chain.from_iterable(node.slots if node.owns else ()):
                known = self._owners[slot]
                if known == node.id:
                    continue
                pair = known, node.id
                if pair not in outdated:
                    outdated[pair] = self._is_outdated(known, node, theirs.get(known), said)
                if not outdated[pair]:
                    self._owners[slot] = node.id
        believed = not any(outdated.values())
        for node in said.nodes:
            own_word = node.id == said.myself
            self._epochs[node.id] = max(node.epoch, 0 if own_word else self._epochs.get(node.id, 0))
            if node.live and (believed or node.id not in self._addresses):
                # the same object as long as it is the same address: comparing 16,384 takes its time
                if self._addresses.get(node.id) != node.address:
                    self._addresses[node.id] = node.address
                self._aliases[node.alias] = node.address
        return believed

    def _is_outdated(
        self, known: str, owner: ClusterNode, theirs: ClusterNode | None, said: ClusterMap
    ) -> bool:
        """Whether a map has `owner` for a slot only because it does not know of a later one.

        Args:
            known: the id of the slot's owner as far as is known; empty for none.
            owner: of the slot by the map.
            theirs: what the map says of the known owner, if anything.
            said: the map.
        """
        if theirs is None or theirs.id == said.myself:
            return False  # it was taken out, the cluster was built anew; or it says so itself
        # of a replica, the epoch is its master's: one that does not know that the replica was
        # promoted gives it its own, old epoch
        return max(owner.epoch, theirs.epoch) < self._epochs.get(known, 0)

    def _settle(self, mentioned: set[str]) -> None:
        """Make `masters` and the slots follow from who owns what; tell of changes."""
        owners = self._owning = set(self._owners) - {""}
        for known in (self._epochs, self._addresses):
            for gone in known.keys() - owners - mentioned:
                del known[gone]
        kept = set(self._addresses.values())
        self._aliases = {one: other for one, other in self._aliases.items() if other in kept}
        slots = [self._addresses.get(owner) for owner in self._owners]
        for slot, (to, _) in self._moved.items():
            slots[slot] = to
        pairs = enumerate(zip(slots, self._slots, strict=True))
        changed = {slot for slot, (new, old) in pairs if new is not old and new != old}
        moved_to = [to for to, _ in self._moved.values()]
        masters = _sorted([*(self._addresses[owner] for owner in owners), *moved_to, *self._spares])
        if not changed and masters == self.masters:
            return
        self._slots = slots
        self.masters = masters
        self._samples.clear()
        self._confirmed = {one: at for one, at in self._confirmed.items() if one in masters}
        self._notify(changed)

    def _confirm(self, said: ClusterMap) -> None:
        """Note which masters a node sees healthy."""
        alone = sum(node.live for node in said.nodes) == 1
        for node in said.nodes:
            if (
                (node.owns or (node.leads and node.id not in self._owning))
                and node.linked
                and "fail?" not in node.flags
                and node.epoch >= self._epochs.get(node.id, 0)
                and (alone or node.id != said.myself)
            ):
                address = self._addresses[node.id]
                self._confirmed[address] = max(said.asked, self.confirmed(address))


def _sorted(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(sorted(set(addresses), key=lambda address: (address.host, address.port)))
