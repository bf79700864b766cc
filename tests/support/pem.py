"""PEM for tests: published certificates, blocks, and what is said of one that is refused."""

import base64
import re

import pytest

from csms_redis.contract.certificates import InvalidCertificate, read_pem
from tests.conftest import DATA

FILES = DATA / "certificates"
PUBLISHED = dict(
    re.findall(r"^\| (\S+\.pem) \| `(\S+)` \|$", (FILES / "README.md").read_text(), re.MULTILINE)
)
TEXTS = {name: (FILES / name).read_text() for name in PUBLISHED}
CHAIN = TEXTS["HUBOpenProvCert001.pem"]


def block(der: bytes, label: str = "CERTIFICATE") -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n"


def refusal(text: str) -> str:
    with pytest.raises(InvalidCertificate) as caught:
        read_pem(text)
    return str(caught.value)
