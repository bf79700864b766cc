"""Listings, followed from page to page as RFC 8288 has it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urljoin

from tests.conftest import API, Reply, Service

_LINK = re.compile(r'<([^<>]+)>; rel="next"')


def next_target(reply: Reply, target: str) -> str | None:
    """The target of the page after the one at a target; None after the last."""
    if "Link" not in reply.headers:
        return None
    found = _LINK.fullmatch(reply.headers["Link"])
    assert found, reply.headers["Link"]
    assert "//" not in found[1]  # no host of anybody's
    return str(urljoin(target, found[1]))


def pages(service: Service, path: str, query: Mapping[str, Any] | None = None) -> Iterator[Reply]:
    """All pages of a listing."""
    target: str | None = f"{API}{path}?{urlencode(query or {})}"
    while target is not None:
        reply = service.request("GET", target)
        assert reply.status == 200, reply.body
        yield reply
        target = next_target(reply, target)


def listed(service: Service, path: str, query: Mapping[str, Any] | None = None) -> list[Any]:
    """All records of a listing, each as often as it comes."""
    return [record for reply in pages(service, path, query) for record in reply.json]
