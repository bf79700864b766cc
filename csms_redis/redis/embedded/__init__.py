"""A private Valkey server for one machine, for `redis.url = "embedded"`.

Each file has one duty: `server` starts the process, restarts it and ends it; `ownership` keeps the
data directory to one service or command; `former_servers` ends what a killed owner left running;
`directory` knows the files and keeps other users out; `append_only` guards the records' files;
`server_log` keeps Valkey's log and reads in it why Valkey ended.
"""

from csms_redis.redis.embedded.directory import has_store, no_store
from csms_redis.redis.embedded.errors import DataDirectoryInUse, EmbeddedError
from csms_redis.redis.embedded.server import EmbeddedValkey

__all__ = ["DataDirectoryInUse", "EmbeddedError", "EmbeddedValkey", "has_store", "no_store"]
