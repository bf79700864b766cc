"""The command that reads a record, made ready so that a miss only puts the key in."""

from csms_redis.registry.resource import Resource


class RecordRead:
    """The HMGET of one kind of record, encoded but for the key."""

    __slots__ = ("_format", "before")

    def __init__(self, resource: Resource, prefix: bytes) -> None:
        """Encode it for the records of `resource`, whose keys begin with `prefix`."""
        # what stands before the id in a key
        self.before = resource.key(prefix, "")
        fields = b"".join(b"$%d\r\n%b\r\n" % (len(field), field) for field in resource.asked)
        self._format = b"*%d\r\n$5\r\nHMGET\r\n$%%d\r\n%%b\r\n%b" % (
            len(resource.asked) + 2,
            fields,
        )

    def command(self, key: bytes) -> bytes:
        """The command for one key, as Redis reads it."""
        return self._format % (len(key), key)
