"""The least rights that the documentation names, and users that have them."""

import re
from collections.abc import Iterable
from pathlib import Path

from tests.topologies.node import Node

_README = Path(__file__).parents[2] / "deploy" / "README.md"
ON_REDIS, *ON_NEWER, ON_SENTINELS = re.findall(
    r"^ACL SETUSER .+$", _README.read_text("utf-8"), re.MULTILINE
)
PASSWORD = "s3cret"


def permit(nodes: Iterable[Node], line: str, without: str = "") -> None:
    """Make the user of a line on each of these, perhaps without one word of it."""
    assert not without or f" {without}" in line
    words = line.replace(">password", f">{PASSWORD}").split()
    for node in nodes:
        node.call(*(word for word in words if word != without))
