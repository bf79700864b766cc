"""Reads the id in a request's path."""

from aiohttp import web

from csms_redis.contract.errors import NotFound
from csms_redis.registry.certificates import CERTIFICATE
from csms_redis.registry.resource import Resource

_POSITION = 4  # in /api/v0/cs/{csId}, split at the slashes


def path_id(request: web.Request, resource: Resource) -> str | None:
    """Read the id as the record's key has it; None if no record can have this id."""
    # match_info would not do: it decodes %FF and %25FF to the same text
    segments = request.rel_url.raw_path.split("/")
    if resource is CERTIFICATE:
        # the slashes of base64 may come unescaped, and nothing follows the hash
        return resource.read_id("/".join(segments[_POSITION:]))
    return resource.read_id(segments[_POSITION])


def path_segment(request: web.Request) -> str:
    """Take the id as it stands in the path, without decoding it."""
    return request.rel_url.raw_path.split("/")[_POSITION]


def known_id(request: web.Request, resource: Resource) -> str:
    """Read the id as the record's key has it.

    Raises:
        NotFound: no record can have this id.
    """
    found = path_id(request, resource)
    if found is None:
        raise NotFound(resource.not_found)
    return found
