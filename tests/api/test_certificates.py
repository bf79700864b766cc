"""Client certificates over HTTP: `POST /certificate`, `GET` and `DELETE /certificate/{hash}`."""

import datetime as dt
import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis

from csms_redis.contract.certificates import read_pem
from tests.conftest import DATA, Service, segment
from tests.support.listed import keys_of_records

# As the README beside them has them.
HASHES = {
    "HUBOpenProvCert001.pem": "1KOlEbBBpCleKkKEbIDwfq/u+zHhkzzH7mGYdfHz1SU=",
    "HUBOpenProvCert002.pem": "J/fo38lsssc8woIR4XMx2wfwvW5F+Z94JpM84kXpPFw=",
    "root-V2G-cert.pem": "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP+Ak=",
}
UNKNOWN = "A" * 43 + "="
STORED = {
    b"certificate",
    b"issuer",
    b"lastUpdated",
    b"notAfter",
    b"notBefore",
    b"serialNumber",
    b"subject",
}
SPELLINGS = (
    "base64",
    "base64 unpadded",
    "base64, escaped",
    "base64 unpadded, escaped",
    "base64url",
    "base64url, padding escaped",
    "base64url unpadded",
    "every character escaped",
    "hex",
    "HEX",
)


def spelled(padded: str, spelling: str) -> str:
    """A hash in one of its spellings, as a segment of a path."""
    url_safe = padded.replace("+", "-").replace("/", "_")
    return {
        "base64": padded,
        "base64 unpadded": padded.rstrip("="),
        "base64, escaped": segment(padded),
        "base64 unpadded, escaped": padded.rstrip("=").replace("/", "%2f"),
        "base64url": url_safe,
        "base64url, padding escaped": url_safe.replace("=", "%3d"),
        "base64url unpadded": url_safe.rstrip("="),
        "every character escaped": "".join(f"%{ord(character):02X}" for character in padded),
        "hex": b64decode(padded).hex(),
        "HEX": b64decode(padded).hex().upper(),
    }[spelling]


def key_of(padded: str) -> str:
    """The Redis key: the hash as gateways send it."""
    return f"certificate:{padded.replace('+', '-').replace('/', '_')}"


@pytest.fixture(params=HASHES)
def file(request: pytest.FixtureRequest) -> Path:
    """A real certificate of a public key infrastructure."""
    return DATA / "certificates" / str(request.param)


@pytest.fixture
def pem(file: Path) -> str:
    """The text of a real certificate, with its chain and what is written around it."""
    return file.read_text(encoding="ascii")


@pytest.fixture
def padded(file: Path) -> str:
    """The hash of a real certificate, in padded base64."""
    return HASHES[file.name]


@pytest.fixture
def uploaded(service: Service, pem: str, padded: str) -> Iterator[str]:
    """The hash of a real certificate that was uploaded."""
    reply = service.post("/certificate", {"certificate": pem})
    assert (reply.status, reply.body) == (201, b"")
    yield padded
    service.delete(f"/certificate/{segment(padded)}")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_is_found_by_every_spelling_of_its_hash(
    service: Service, pem: str, uploaded: str, spelling: str
) -> None:
    """And comes back as it was, its chain and the text around it included."""
    found = service.get(f"/certificate/{spelled(uploaded, spelling)}")

    assert (found.status, found.headers["Content-Type"]) == (200, "application/json")
    assert found.json == {"certificate": pem}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_is_deleted_by_every_spelling_of_its_hash(
    service: Service, redis: Redis, uploaded: str, spelling: str
) -> None:
    path = f"/certificate/{spelled(uploaded, spelling)}"
    assert redis.exists(key_of(uploaded)) == 1

    deleted = service.delete(path)
    again = service.delete(path)
    found = service.get(path)

    assert (deleted.status, deleted.body) == (204, b"")
    assert "Content-Type" not in deleted.headers
    assert (again.status, again.error) == (404, "There is no such certificate.")
    assert (found.status, found.error) == (404, "There is no such certificate.")
    assert redis.exists(key_of(uploaded)) == 0


def test_is_stored_under_the_hash_that_gateways_send(
    service: Service, redis: Redis, pem: str, uploaded: str
) -> None:
    assert service.get(f"/certificate/{segment(uploaded)}").status == 200

    stored = redis.hgetall(key_of(uploaded))

    assert set(stored) == STORED
    assert json.loads(stored[b"certificate"]) == pem


def test_literal_newline_pairs_are_newlines(service: Service, pem: str, padded: str) -> None:
    """The contract's own spelling; it is kept with newlines."""
    one_line = pem.replace("\n", "\\n")
    assert "\n" not in one_line
    assert service.post("/certificate", {"certificate": one_line}).status == 201

    assert service.get(f"/certificate/{segment(padded)}").json == {"certificate": pem}
    assert service.delete(f"/certificate/{segment(padded)}").status == 204


def test_windows_line_ends_come_back(service: Service, pem: str, padded: str) -> None:
    windows = pem.replace("\n", "\r\n")
    assert service.post("/certificate", {"certificate": windows}).status == 201

    assert service.get(f"/certificate/{segment(padded)}").json == {"certificate": windows}
    assert service.delete(f"/certificate/{segment(padded)}").status == 204


def test_uploading_again_replaces_the_chain(service: Service, pem: str, uploaded: str) -> None:
    """The hash is that of the first certificate only."""
    end = "-----END CERTIFICATE-----\n"
    alone = pem.partition(end)[0] + end
    assert service.post("/certificate", {"certificate": alone}).status == 201

    assert service.get(f"/certificate/{segment(uploaded)}").json == {"certificate": alone}


@pytest.mark.parametrize(
    "bad",
    [
        UNKNOWN,
        UNKNOWN.rstrip("="),
        "0" * 64,
        "0" * 63,
        "g" * 64,
        "A" * 42 + "B",
        "A" * 43 + "==",
        "A" * 44,
        "=" * 44,
        "x",
        "%",
        "%zz",
        "%FF",
        "%00",
        "%2F" * 43,
        "/" * 43,
        "A/" * 20,
        "A" * 43 + "=/",
        "A" * 43 + "/auth",
        segment("\uff10" * 64),
        "A" * 43 + "%0A",
        "%20" + "A" * 43,
        "x" * 4000,
    ],
)
def test_what_is_no_known_hash_is_not_found(service: Service, bad: str) -> None:
    found = service.get(f"/certificate/{bad}")
    deleted = service.delete(f"/certificate/{bad}")

    assert (found.status, found.error) == (404, "There is no such certificate.")
    assert (deleted.status, deleted.error) == (404, "There is no such certificate.")


def private_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def public_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def signed(name: str, *, years: int) -> str:
    """A certificate made now, valid for so many years from now, or until so many ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    ends = now + dt.timedelta(days=365 * years)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - dt.timedelta(days=1))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
        .decode()
    )


@pytest.mark.parametrize("years", [-1, 1])
def test_takes_a_certificate_whether_expired_or_not(service: Service, years: int) -> None:
    certificate = signed("cs001", years=years)
    digest = x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA256())
    assert service.post("/certificate", {"certificate": certificate}).status == 201

    assert service.get(f"/certificate/{digest.hex()}").json == {"certificate": certificate}


def first_block(pem: str) -> str:
    """The first certificate alone, as its four-line-or-more text."""
    return pem[pem.index("-----BEGIN") : pem.index("-----END")] + "-----END CERTIFICATE-----\n"


GOOD = first_block((DATA / "certificates" / "root-V2G-cert.pem").read_text(encoding="ascii"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no PEM certificate"),
        ("not a certificate", "there is no PEM certificate"),
        (GOOD.replace("CERTIFICATE", "CERTIFICATE REQUEST"), "is not a certificate"),
        (GOOD.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "is not a certificate"),
        (public_key(), "is not a certificate"),
        (GOOD + public_key(), "block 2 is not a certificate"),
        (private_key(), "this holds a private key"),
        (GOOD + private_key(), "this holds a private key"),
        (private_key() + GOOD, "this holds a private key"),
        (private_key().replace("\n", "\\n"), "this holds a private key"),
        (GOOD.partition("-----END")[0], "has no END line"),
        (GOOD[:100] + "*" + GOOD[101:], "its body is not base64"),
        (GOOD[:100] + GOOD[104:], "its body is not an X.509 certificate"),
        ("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "is broken"),
        (GOOD + GOOD[:100] + GOOD[104:], "certificate 2 is broken"),
        (GOOD * 11, "more than 10 certificates"),
        ("\u20ac" * 21846 + GOOD, "longer than 65536 bytes"),
        (GOOD + "x" * 65536, "65536"),
    ],
)
def test_refuses_what_is_no_certificate(
    service: Service, redis: Redis, text: str, says: str
) -> None:
    """The error says what is wrong and quotes nothing; nothing is kept."""
    before = keys_of_records(redis)

    reply = service.post("/certificate", {"certificate": text})

    assert reply.status == 400
    assert reply.error.startswith("certificate: ")
    assert says in reply.error
    assert GOOD[40:60] not in reply.error
    assert keys_of_records(redis) == before


def test_a_certificate_of_just_64_kib_is_taken(service: Service) -> None:
    text = "x" * (65536 - len(GOOD) - 1) + "\n" + GOOD
    assert service.post("/certificate", {"certificate": text}).status == 201

    digest = x509.load_pem_x509_certificate(GOOD.encode()).fingerprint(hashes.SHA256())
    assert service.get(f"/certificate/{digest.hex()}").json == {"certificate": text}


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({}, "certificate is missing."),
        ({"certificate": None}, "certificate: must be a text."),
        ({"certificate": [GOOD]}, "certificate: must be a text."),
        ({"certificate": 1}, "certificate: must be a text."),
    ],
)
def test_refuses_what_is_no_text(service: Service, record: object, error: str) -> None:
    reply = service.post("/certificate", record)

    assert (reply.status, reply.error) == (400, error)


def test_ignores_unknown_properties(service: Service, redis: Redis, pem: str, padded: str) -> None:
    record = {"certificate": pem, "hash": "x", "lastUpdated": 1}
    assert service.post("/certificate", record).status == 201

    assert set(redis.hkeys(key_of(padded))) == STORED
    assert service.delete(f"/certificate/{segment(padded)}").status == 204


@pytest.mark.parametrize(
    "file", sorted((DATA / "certificates" / "odd").glob("*.pem")), ids=lambda file: file.name
)
def test_takes_what_the_field_has(service: Service, file: Path) -> None:
    """What a TLS proxy verifies, in odd wrappings too; it is found by its hash."""
    text = file.read_text("utf-8")
    assert service.post("/certificate", {"certificate": text}).status == 201

    certificate = read_pem(text)
    found = service.get(f"/certificate/{segment(certificate.hash)}")
    assert found.json == {"certificate": certificate.pem}
    assert found.json["certificate"].startswith("-----BEGIN CERTIFICATE-----\n")
    assert "Warning" not in service.log
