"""A station's certificate and its chain, and what OpenSSL says of such."""

import re
import shutil
import subprocess
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from csms_redis.contract.certificates import InvalidCertificate, certificate_hash, read_pem, text_of
from tests.support.odd_certificates import Authority

OPENSSL = shutil.which("openssl")

CA = Authority()
KEY = ec.generate_private_key(ec.SECP256R1())
LEAF = CA.issue(KEY)
ROOT = load_pem_x509_certificate(CA.pem.encode()).public_bytes(Encoding.DER)


def proper(der_: bytes) -> str:
    """As OpenSSL writes it."""
    body = re.sub(r"(.{64})(?=.)", r"\1\n", b64encode(der_).decode())
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


PEM = proper(LEAF)
CHAIN = PEM + proper(ROOT)


def refusal(data: bytes) -> str:
    with pytest.raises(InvalidCertificate) as caught:
        read_pem(text_of(data))
    return str(caught.value)


def judged(pem: str) -> str | None:
    """The hash of what `openssl x509` reads in a file; None if it reads nothing."""
    if OPENSSL is None:
        pytest.skip("openssl is not installed: apt install openssl")
    done = subprocess.run(
        [OPENSSL, "x509", "-noout", "-fingerprint", "-sha256"],
        input=pem.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        return None
    return certificate_hash(done.stdout.decode().strip().partition("=")[2].replace(":", ""))
