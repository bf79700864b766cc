"""What is no certificate in PEM: it is named, with the command that converts it."""

import re
import subprocess
from base64 import b64encode, encodebytes
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
    pkcs12,
)
from cryptography.x509 import (
    CertificateRevocationListBuilder,
    CertificateSigningRequestBuilder,
    Name,
    NameAttribute,
    load_der_x509_certificate,
)
from cryptography.x509.oid import NameOID

from csms_redis.contract import der
from csms_redis.contract.certificates import der_hash, read_pem, text_of
from csms_redis.contract.der import Form
from tests.conftest import DATA
from tests.support.client_certificates import CA, KEY, LEAF, OPENSSL, PEM, judged, refusal
from tests.support.pem import block

REQUEST = (
    CertificateSigningRequestBuilder()
    .subject_name(Name([NameAttribute(NameOID.COMMON_NAME, "cs001")]))
    .sign(KEY, hashes.SHA256())
)
LOADED = load_der_x509_certificate(LEAF)
REVOCATIONS = (
    CertificateRevocationListBuilder()
    .issuer_name(LOADED.issuer)
    .last_update(LOADED.not_valid_before_utc)
    .next_update(LOADED.not_valid_after_utc)
    .sign(CA.key, hashes.SHA256())
)
PFX = pkcs12.serialize_key_and_certificates(b"cs001", KEY, LOADED, None, NoEncryption())
PUBLIC = KEY.public_key()
SPKI = PublicFormat.SubjectPublicKeyInfo


def key_bytes(form: PrivateFormat) -> bytes:
    return KEY.private_bytes(Encoding.DER, form, NoEncryption())


CONVERTED = {
    "DER": LEAF,
    "base64 of DER": encodebytes(LEAF),
    "base64 on one line": b64encode(LEAF),
    "PKCS#7 in DER": pkcs7.serialize_certificates([LOADED], Encoding.DER),
    "PKCS#7": pkcs7.serialize_certificates([LOADED], Encoding.PEM),
    "base64 of PKCS#7": encodebytes(pkcs7.serialize_certificates([LOADED], Encoding.DER)),
}


@pytest.mark.parametrize("data", CONVERTED.values(), ids=CONVERTED)
def test_other_forms_are_named_with_a_command_that_converts_them(
    data: bytes, tmp_path: Path
) -> None:
    """The command is run as it is written, and what it makes is read."""
    said = refusal(data)
    (command,) = re.findall(r"convert it: (.*NEW\.pem)", said)
    (tmp_path / "FILE").write_bytes(data)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, timeout=60, check=True)

    assert read_pem(text_of((tmp_path / "NEW.pem").read_bytes())).hash == der_hash(LEAF)


def test_pkcs_12_and_the_trusted_form_are_converted_too(tmp_path: Path) -> None:
    (tmp_path / "FILE").write_bytes(PFX)
    (command,) = re.findall(r"convert it: (.*NEW\.pem)", refusal(PFX))
    subprocess.run(["sh", "-c", f"{command} -passin pass:"], cwd=tmp_path, timeout=60, check=True)
    assert read_pem((tmp_path / "NEW.pem").read_text()).hash == der_hash(LEAF)

    assert OPENSSL is not None
    trusted = subprocess.run(
        [OPENSSL, "x509", "-trustout", "-addtrust", "clientAuth"],
        input=PEM.encode(),
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout
    (command,) = re.findall(r"convert it: (.*NEW\.pem)", refusal(trusted))
    (tmp_path / "FILE").write_bytes(trusted)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, timeout=60, check=True)
    assert read_pem((tmp_path / "NEW.pem").read_text()).hash == der_hash(LEAF)


@pytest.mark.parametrize(
    ("der_", "form", "said"),
    [
        (REQUEST.public_bytes(Encoding.DER), Form.REQUEST, "a request for a certificate"),
        (REVOCATIONS.public_bytes(Encoding.DER), Form.REVOCATIONS, "a list of revoked"),
        (PUBLIC.public_bytes(Encoding.DER, SPKI), Form.PUBLIC_KEY, "a public key"),
        (PFX, Form.PKCS12, "PKCS#12"),
        (key_bytes(PrivateFormat.PKCS8), Form.PRIVATE_KEY, "a private key"),
        (key_bytes(PrivateFormat.TraditionalOpenSSL), Form.PRIVATE_KEY, "a private key"),
        (
            KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")),
            Form.PRIVATE_KEY,
            "a private key",
        ),
        (LEAF, Form.CERTIFICATE, "a certificate in DER"),
    ],
    # Keys are made anew in each process, and pytest-xdist's are to have the same names of tests.
    ids=["request", "revocations", "public key", "PKCS#12", "PKCS#8", "SEC 1", "sealed", "DER"],
)
def test_what_is_no_certificate_is_named(der_: bytes, form: Form, said: str) -> None:
    """As a file, as base64, and behind a BEGIN line that lies."""
    assert der.form(der_) is form
    assert said in refusal(der_)
    assert said in refusal(encodebytes(der_))
    if form is not Form.CERTIFICATE:
        assert said in refusal(block(der_).encode())


# What `openssl x509` reads, and what is refused here. The page on certificates has this table.
REFUSED: dict[str, str] = {
    "bytes after the certificate": block(LEAF + b"\0"),
    "a length in more bytes than it needs": block(
        LEAF.replace(LEAF[:4], b"\x30\x83\x00" + LEAF[2:4], 1)
        if LEAF[1] == 0x82
        else b"\x30\x82\x00" + LEAF[2:]
    ),
    "an indefinite length (BER)": block(
        b"\x30\x80" + LEAF[4 if LEAF[1] == 0x82 else 3 :] + b"\0\0"
    ),
}


@pytest.mark.parametrize(("why", "pem"), REFUSED.items(), ids=REFUSED)
def test_what_openssl_reads_and_is_refused(why: str, pem: str) -> None:
    """OpenSSL writes such bytes anew, so which hash a gateway asks for is not known."""
    assert judged(pem) is not None
    assert "its body is not an X.509 certificate" in refusal(pem.encode())
    assert f"| {why} |" in (DATA.parents[1] / "deploy" / "operate.md").read_text("utf-8")
