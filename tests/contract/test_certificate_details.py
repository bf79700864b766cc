"""What a certificate says of itself, as listings show it."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from csms_redis.contract.certificates import MAX_NAME, read_pem
from tests.support.pem import CHAIN, block


def made(*, subject: x509.Name, serial: int, ends: datetime) -> str:
    """A certificate for whatever it is to say."""
    key = ec.generate_private_key(ec.SECP256R1())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )


def named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@pytest.mark.parametrize(
    ("serial", "spelled"), [(1, "01"), (0xABC, "0ABC"), (0xFF, "FF"), (2**158, "40" + "00" * 19)]
)
def test_says_what_the_certificate_says(serial: int, spelled: str) -> None:
    """The serial number as `openssl x509 -serial` has it, times in UTC, names as in RFC 4514."""
    text = made(
        subject=named('a,b "c"'), serial=serial, ends=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    )

    assert read_pem(text).details == {
        "subject": 'CN=a\\,b \\"c\\"',
        "issuer": 'CN=a\\,b \\"c\\"',
        "serialNumber": spelled,
        "notBefore": "1999-12-31T23:59:59Z",
        "notAfter": "9999-12-31T23:59:59Z",
    }


def test_a_long_name_is_cut() -> None:
    many = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x" * 60) for _ in range(20)])
    text = made(subject=many, serial=1, ends=datetime(2030, 1, 1, tzinfo=UTC))

    assert len(read_pem(text).details["subject"]) == MAX_NAME


def test_an_odd_country_is_shown() -> None:
    """RFC 5280 wants two letters; nothing is written to standard error beside the log's lines."""
    text = made(subject=named("zzzzzzzz"), serial=1, ends=datetime(2030, 1, 1, tzinfo=UTC))
    der = x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)
    common_name, country = b"\x55\x04\x03", b"\x55\x04\x06"  # 2.5.4.3 and 2.5.4.6

    details = read_pem(block(der.replace(common_name, country))).details

    assert details["subject"] == details["issuer"] == "C=zzzzzzzz"


def test_of_a_chain_the_first_certificate_counts() -> None:
    assert read_pem(CHAIN).details["subject"] == "CN=EMP77TWTW00002,O=Hubject"


def test_what_cannot_be_read_is_left_out() -> None:
    """A name that is no UTF-8 though it says so: the certificate is kept all the same."""
    text = made(subject=named("zzzz"), serial=1, ends=datetime(2030, 1, 1, tzinfo=UTC))
    der = x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)

    details = read_pem(block(der.replace(b"zzzz", b"zz\xff\xfe"))).details

    assert details == {
        "serialNumber": "01",
        "notBefore": "1999-12-31T23:59:59Z",
        "notAfter": "2030-01-01T00:00:00Z",
    }
