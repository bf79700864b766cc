"""Near caches, filled through one connection or several."""

from collections import OrderedDict

from csms_redis.lookup.known.near_cache import NearCache

STALE_IF_ERROR = 300.0


class OneMaster:
    """A near cache that is filled through one connection after the other."""

    def __init__(self, cache: NearCache) -> None:
        self.cache = cache
        self.filling = cache.begin()
        self.drop = cache.drop
        self.stale = cache.stale

    def __len__(self) -> int:
        return len(self.cache)

    @property
    def size(self) -> int:
        return self.cache.size

    @property
    def fresh(self) -> OrderedDict[bytes, bytes]:
        return self.filling.entries

    def put(self, target: bytes, tail: bytes) -> None:
        self.cache.put(self.filling, target, tail)

    def age(self, good: float) -> None:
        self.cache.age(self.filling, good)
        self.filling = self.cache.begin()

    def clear(self) -> None:
        self.filling.clear()
        self.cache.clear_old()


def shared(*, entries: int = 100, size: int = 2**20) -> NearCache:
    return NearCache(max_entries=entries, max_bytes=size, stale_if_error=STALE_IF_ERROR)


def near(*, entries: int = 100, size: int = 2**20) -> OneMaster:
    return OneMaster(shared(entries=entries, size=size))
