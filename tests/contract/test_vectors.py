"""The odd certificates that `cryptography` is tested with, beside OpenSSL's judgement.

They are a package of their own, which is fetched for this: slow.
"""

import shutil
import subprocess
import sys
import warnings
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from csms_redis.contract import der
from csms_redis.contract.certificates import (
    InvalidCertificate,
    certificate_hash,
    read_pem,
    text_of,
)

pytestmark = pytest.mark.slow

VECTORS = "cryptography-vectors==50.0.2"
OPENSSL = shutil.which("openssl")

# What OpenSSL reads and is refused here, with the reason.
REFUSED = dict.fromkeys(
    (
        "x509/cryptography.io.chain_with_garbage.pem",
        "x509/cryptography.io.with_garbage.pem",
        "x509/cryptography.io.with_headers.pem",
    ),
    "this holds a private key",
)
# What is taken though OpenSSL does not read it: the outline is right, and a name within is not.
BEYOND = {
    "x509/custom/invalid_utf8_common_name.pem",
    "x509/custom/long-form-name-attribute.pem",
    "x509/custom/name_attribute_unsupported_tag.pem",
}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("vectors")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--no-deps"),
            *("--only-binary", ":all:", "-d", home, VECTORS),
        ],
        timeout=300,
        check=True,
    )
    (wheel,) = home.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home)
    return home / "cryptography_vectors"


def files(vectors: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted((vectors / "x509").rglob("*")):
        if path.is_file() and path.suffix in {".pem", ".crt", ".der", ".cer"}:
            yield str(path.relative_to(vectors)), path.read_bytes()


def judged(data: bytes) -> str | None:
    """The hash of what `openssl x509` reads."""
    assert OPENSSL is not None
    for form in ("pem", "der"):
        done = subprocess.run(
            [OPENSSL, "x509", "-noout", "-fingerprint", "-sha256", "-inform", form],
            input=data,
            capture_output=True,
            timeout=60,
            check=False,
        )
        if done.returncode == 0:
            printed = done.stdout.decode().strip().partition("=")[2]
            return certificate_hash(printed.replace(":", ""))
    return None


def test_all_of_them(vectors: Path) -> None:
    """None fails or warns; what OpenSSL reads is taken by the same hash, but for the tables."""
    taken, refused = 0, {}
    for name, data in files(vectors):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                if der.form(data) is der.Form.CERTIFICATE:
                    found = read_pem(
                        f"-----BEGIN CERTIFICATE-----\n{b64encode(data).decode()}\n"
                        "-----END CERTIFICATE-----\n"
                    )
                else:
                    found = read_pem(text_of(data))
            except InvalidCertificate as invalid:
                if judged(data) is not None:
                    refused[name] = str(invalid)
                continue
        assert found.hash == judged(data) or (name in BEYOND and judged(data) is None), name
        taken += 1
    assert taken > 500
    assert {name: reason.partition(",")[0] for name, reason in refused.items()} == REFUSED
