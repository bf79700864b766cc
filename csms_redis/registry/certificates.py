"""Client certificates: `certificate:{hash}`, the hash in padded base64url as gateways send it."""

from csms_redis.contract.certificates import ClientCertificate, certificate_hash
from csms_redis.contract.models import Certificate
from csms_redis.redis.client import RedisClient
from csms_redis.registry.resource import Record, Resource, lookup_fields, now, replace

CERTIFICATE = Resource(
    name="certificate",
    called="certificate",
    canonical=certificate_hash,
    fields=lookup_fields(Certificate),
)


def certificate_record(
    prefix: bytes, certificate: ClientCertificate, *, updated: bytes | None = None
) -> Record:
    """A certificate as it is stored.

    Args:
        prefix: of every key.
        certificate: it.
        updated: its `lastUpdated`, JSON; None for now.
    """
    fields = Certificate(certificate=certificate.pem).hash_fields()
    fields[b"lastUpdated"] = updated or now()
    return Record(CERTIFICATE.key(prefix, certificate.hash), fields)


class Certificates:
    """The certificates in Redis."""

    def __init__(self, redis: RedisClient, prefix: bytes) -> None:
        """Keep them in `redis`, every key after `prefix`."""
        self._redis = redis
        self._prefix = prefix

    async def upload(self, certificate: ClientCertificate) -> None:
        """Keep a certificate under its hash.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: it may have been.
        """
        await replace(self._redis, certificate_record(self._prefix, certificate))

    async def delete(self, hash_: str) -> bool:
        """Remove a certificate; whether there was one.

        Raises:
            Unavailable: nothing was changed.
            OutcomeUnknown: it may have been.
        """
        key = CERTIFICATE.key(self._prefix, hash_)
        return bool(await self._redis.write(key, "DEL", key))
