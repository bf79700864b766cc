"""The least rights that the documentation names, and users that have them."""

import re
from collections.abc import Iterable
from pathlib import Path

from tests.support.topologies.node import Node

_PAGE = Path(__file__).parents[3] / "deploy" / "install.md"
ON_REDIS, ON_FIELDS, ON_DISKS, ON_SENTINELS = re.findall(
    r"^ACL SETUSER .+$", _PAGE.read_text("utf-8"), re.MULTILINE
)
PASSWORD = "s3cret"


def permit(nodes: Iterable[Node], line: str, without: str = "") -> None:
    """Make the user of a line on each of these, perhaps without one word of it.

    On a server where a field may have a time to live that of `ON_REDIS` gets this right too.
    """
    assert not without or f" {without}" in line
    words = line.replace(">password", f">{PASSWORD}").split()
    for node in nodes:
        node.call(*(word for word in words if word != without))
        if line.startswith(ON_REDIS) and node.call("COMMAND", "INFO", "hpttl") != [None]:
            node.call(*ON_FIELDS.split())
