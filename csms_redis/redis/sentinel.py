"""The master that sentinels watch (https://valkey.io/topics/sentinel/)."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from ipaddress import ip_address
from math import inf
from time import monotonic
from typing import Any

from csms_redis.redis.address import Address
from csms_redis.redis.names import NotResolved, places
from csms_redis.redis.sentinel_peer import SentinelPeer, Where, Word, host_and_port
from csms_redis.redis.topology import Topology


class Sentinel(Topology):
    """The one master of a name, as a majority of the sentinels has it.

    Each sentinel is asked on a connection of its own, and its last word stands until it is asked
    again or fails. One that is silent holds up one look; after that its answer is taken when it
    comes, because a host that takes the master and a sentinel with it must not slow down how fast
    the others are heard.
    """

    def __init__(
        self, sentinels: Sequence[Address], name: str, master: Address, *, timeout: float
    ) -> None:
        """Know whom to ask; nothing is sent yet.

        Args:
            sentinels: some of them at least; one name may stand for several. The others, which
                they name, are asked with the credentials and the TLS of the first.
            name: by which they know the master.
            master: how to speak to masters; its host and port do not matter.
            timeout: seconds to connect to a sentinel, and to be answered.
        """
        super().__init__()
        self._configured = tuple(sentinels)
        self._name = name
        self._master = master
        self._timeout = timeout
        self._named: set[Address] = set()
        self._resolved: dict[Address, tuple[str, ...]] = {}
        self._peers: dict[Where, SentinelPeer] = {}
        self._jobs: dict[Where | Address, asyncio.Task[None]] = {}
        self._slow: set[Where | Address] = set()  # whose job a look does not wait for
        self._following = False
        self._confirmed = -inf

    def __str__(self) -> str:
        """The URL for people, without users and passwords."""
        hosts = ",".join(sentinel.host_and_port for sentinel in self._configured)
        scheme = "rediss" if self._master.tls else "redis"
        return f"{scheme}+sentinel://{hosts}/{self._name}/{self._master.db}"

    def owner(self, key: bytes) -> Address | None:
        """The one master, whatever the key."""
        del key
        return self.masters[0] if self.masters else None

    def confirmed(self, master: Address) -> float:
        """When the latest questions left to which a majority answered `master`."""
        return self._confirmed if master in self.masters else -inf

    @property
    def own_connections(self) -> int:
        """The number of connections: two to each sentinel, one to ask and one to listen on."""
        return 2 * max(len(self._configured), len(self._peers))

    async def look(self) -> None:
        """Ask every sentinel that is known, and those that the answers name."""
        for address in {*self._configured, *self._named}:
            self._visit(address)
        # names are resolved, sentinels asked, and then perhaps those that they name
        deadline = monotonic() + 2 * self._timeout
        while jobs := {job for key, job in self._jobs.items() if key not in self._slow}:
            left = max(0.0, deadline - monotonic())
            done, _ = await asyncio.wait(jobs, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self._slow.update(self._jobs)
        await self._forget()
        self.problem = self._missing()

    async def run(self) -> None:
        """Ask again each second, and as soon as a sentinel says that it has another master."""
        self._following = True
        try:
            await super().run()
        finally:
            self._following = False
            await self.close()

    async def close(self) -> None:
        """Close the connections; a later look opens new ones."""
        jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        while self._peers:
            await self._peers.popitem()[1].close()

    def _visit(self, address: Address) -> None:
        """Ask the sentinels behind an address, and find out who they are where that is not sure."""
        hosts = self._hosts(address)
        self._ask(address, hosts)
        # A name is looked up again only where someone behind it does not answer: who joins them
        # is named by the others.
        if not hosts or any(self._peers[host, address.port].problem for host in hosts):
            self._start(address, self._resolve(address))

    def _hosts(self, address: Address) -> tuple[str, ...]:
        if _is_ip(address.host):
            return (address.host,)
        return self._resolved.get(address, ())

    def _ask(self, address: Address, hosts: Sequence[str], *, again: bool = True) -> None:
        for host in hosts:
            where = host, address.port
            if where not in self._peers:
                self._peers[where] = SentinelPeer(address, host, self._name, self._timeout)
            elif not again:
                continue
            self._start(where, self._hear(where, self._peers[where]))

    def _start(self, key: Where | Address, work: Coroutine[Any, Any, None]) -> None:
        """Work in the background, unless the last such work is not done yet."""
        if key in self._jobs:
            work.close()
            return
        job = self._jobs[key] = asyncio.get_running_loop().create_task(work)
        job.add_done_callback(lambda _: self._jobs.pop(key))

    async def _resolve(self, address: Address) -> None:
        try:
            found = await places(address.host, address.port)
        except NotResolved:
            return  # the last known ones may still be right
        finally:
            self._slow.discard(address)
        self._resolved[address] = tuple(dict.fromkeys(place[0] for _, place in found))
        self._ask(address, self._resolved[address], again=False)

    async def _hear(self, where: Where, peer: SentinelPeer) -> None:
        """Ask one sentinel, and take over the master when that makes a majority."""
        await peer.ask()
        if peer.silent:
            self._slow.add(where)
        else:
            self._slow.discard(where)
        if peer.word is None:
            return
        if self._following:
            peer.listen(self.doubt)
        self._take_over()
        for other in peer.word.others.values():
            address = self._configured[0].at(*other)
            if address not in self._named:
                self._named.add(address)
                self._ask(address, self._hosts(address), again=False)
                if not _is_ip(address.host):
                    self._start(address, self._resolve(address))

    async def _forget(self) -> None:
        """Forget sentinels that no other sentinel names any more."""
        words = [peer.word for peer in self._peers.values() if peer.word]
        if words:
            others = {other for word in words for other in word.others.values()}
            self._named = {self._configured[0].at(*other) for other in others}
        places = {*self._configured, *self._named}
        kept = {(host, place.port) for place in places for host in self._hosts(place)}
        for where in self._peers.keys() - kept - self._jobs.keys():
            await self._peers.pop(where).close()
        for place in self._resolved.keys() - places:
            del self._resolved[place]
        self._slow &= {*kept, *places}

    def _words(self) -> dict[str, Word]:
        """The last word of each sentinel, by its id; one may have been asked at two addresses."""
        words = {where: peer.word for where, peer in self._peers.items() if peer.word}
        named = {place: id_ for word in words.values() for id_, place in word.others.items()}
        return {
            word.id or named.get(where, str(where)): word
            for where, word in sorted(words.items(), key=lambda item: item[1].sent)
        }

    def _sentinels(self, words: dict[str, Word]) -> int:
        """How many sentinels there are at least: of those, more than half must agree."""
        known = {*words, *(id_ for word in words.values() for id_ in word.others)}
        configured = 0
        seen: set[Where] = set()
        for address in self._configured:
            new = {(host, address.port) for host in self._hosts(address)} - seen
            ipv6 = sum(":" in host for host, _ in new)
            # one that listens on IPv4 and IPv6 has two addresses
            configured += max(ipv6, len(new) - ipv6) if self._hosts(address) else 1
            seen |= new
        return max(len(known), configured)

    def _take_over(self) -> None:
        """Take the master on which a majority agrees, if there is a majority."""
        words = self._words()
        needed = self._sentinels(words) // 2 + 1
        sent: dict[Where, list[float]] = {}
        for word in words.values():
            if word.master is not None:
                sent.setdefault(word.master, []).append(word.sent)
        for (host, port), times in sent.items():
            if len(times) >= needed:
                master = self._master.at(host, port)
                # when there was a majority for it: what the rest say is older
                confirmed = sorted(times, reverse=True)[needed - 1]
                if self.masters != (master,):
                    self.masters, self._confirmed = (master,), confirmed
                    self.problem = None
                    self._notify(None)
                self._confirmed = max(self._confirmed, confirmed)

    def _missing(self) -> str | None:
        """Why the master is not confirmed now, on one line and without what is secret."""
        words = self._words()
        total = self._sentinels(words)
        needed = total // 2 + 1
        votes = Counter(word.master for word in words.values())
        if len(words) < needed:
            answer = "answers" if len(words) == 1 else "answer"
            return (
                f"{len(words)} of {total} sentinels {answer}, {needed} must agree{self._failure()}"
            )
        master, count = votes.most_common(1)[0]
        if count >= needed:
            return None if master else f"the sentinels know no master called {self._name}"
        said = ", ".join(
            sorted(
                f"{host_and_port(master) if master else 'none'} ({count})"
                for master, count in votes.items()
            )
        )
        return f"the sentinels disagree, {needed} of {total} must agree: {said}"

    def _failure(self) -> str:
        """One sentinel that does not answer, and why."""
        for peer in self._peers.values():
            if peer.problem:
                return f"; {peer} {peer.problem}"
        for address in self._configured:
            if not self._hosts(address):
                return f"; {address.host}: its name is not resolved"
        return ""


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
