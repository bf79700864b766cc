"""Records that a workload writes, and each version of them that a lookup can find."""

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from typing import Any, Literal, NamedTuple, TypeAlias

import orjson

from tests.support.http_client import Answer
from tests.support.made import token
from tests.support.topologies.seen import Version

Kind: TypeAlias = Literal["station", "token", "certificate"]
Change: TypeAlias = Literal["register", "delete", "block", "allow"]
PROPERTY: dict[Kind, str] = {
    "station": "base64SHA256Password",
    "token": "issuer",
    "certificate": "certificate",
}
_ISSUER = re.compile(r"v(\d+)")


class Record(NamedTuple):
    """A key of the registry."""

    kind: Kind
    id: str
    pem: str = ""

    @property
    def path(self) -> str:
        """Where it is looked up."""
        return {
            "station": f"/cs/{self.id}/auth",
            "token": f"/token/{self.id}",
            "certificate": f"/certificate/{self.id}",
        }[self.kind]

    @property
    def redis_key(self) -> str:
        """Where Redis keeps it, without the prefix."""
        name = {"station": "cs"}.get(self.kind, self.kind)
        if self.kind == "certificate":
            return f"{name}:{urlsafe_b64encode(bytes.fromhex(self.id)).decode()}"
        return f"{name}:{self.id}"

    def write(self, version: int) -> tuple[str, dict[str, Any]]:
        """What to POST, and where, so that it is of this version."""
        if self.kind == "station":
            password = b64encode(version.to_bytes(32, "big")).decode()
            return f"/cs/{self.id}", {"securityProfile": 1, "base64SHA256Password": password}
        if self.kind == "token":
            return "/token", {**token(self.id, f"v{version}")}
        return "/certificate", {"certificate": f"v{version}\n{self.pem}"}

    @property
    def owner(self) -> str:
        """What is deleted, and below which a station's status is set."""
        return f"/cs/{self.id}" if self.kind == "station" else self.path

    def version(self, text: str) -> int:
        """The version that the property `PROPERTY` names.

        Raises:
            ValueError: it was never written.
        """
        if self.kind == "station":
            return int.from_bytes(b64decode(text, validate=True), "big")
        if found := _ISSUER.match(text):
            return int(found[1])
        raise ValueError(f"{self.path} holds {text[:80]!r}")

    def answered(self, answer: Answer) -> Version:
        """The version of an answer; None unless it is 200."""
        if answer.status != 200:
            return None
        return self.version(orjson.loads(answer.body)[PROPERTY[self.kind]])
