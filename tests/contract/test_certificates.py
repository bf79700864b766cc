"""Client certificates: which texts are taken, which are refused, and in which words."""

import base64
import re
import string
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from csms_redis.contract.certificates import (
    MAX_BLOCKS,
    MAX_PEM_BYTES,
    ClientCertificate,
    InvalidCertificate,
    certificate_hash,
    der_hash,
    read_pem,
)
from tests.support.pem import CHAIN, FILES, PUBLISHED, TEXTS, block, refusal

ROOT = TEXTS["root-V2G-cert.pem"]
BLOCK = ROOT[ROOT.index("-----BEGIN") :]
DER = x509.load_pem_x509_certificate(ROOT.encode()).public_bytes(Encoding.DER)

PRIVATE_KEYS = [
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "PGP PRIVATE KEY BLOCK",
]


@pytest.mark.parametrize(("name", "padded_base64"), PUBLISHED.items())
def test_what_operators_upload(name: str, padded_base64: str) -> None:
    """Expired, with a chain, with text before the first block: the first block gives the hash."""
    certificate = read_pem(TEXTS[name])

    assert TEXTS[name] == certificate.pem
    assert certificate.hash == certificate_hash(padded_base64)


def test_all_published_certificates_are_tried() -> None:
    assert {path.name for path in FILES.glob("*.pem")} == set(PUBLISHED)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_literal_newlines(text: str) -> None:
    r"""The contract's `\n` pairs are newlines, and are given back as such."""
    assert read_pem(text) == read_pem(text.replace("\n", "\\n"))


@pytest.mark.parametrize(
    "text",
    [
        BLOCK.strip(),
        f"\n\n \t\n{BLOCK}\n \n",
        BLOCK.replace("\n", "\r\n"),
        BLOCK.replace("\n", " \t\n"),
        BLOCK.replace("\n", "\n\n"),
        re.sub(r"(?<!-)\n(?!-)", "", BLOCK),
        f"subject=a station \u00e9\n{BLOCK}issuer=-----\n",
        BLOCK + BLOCK,
        BLOCK * MAX_BLOCKS,
    ],
    ids=["bare", "blanks", "CRLF", "trailing", "empty", "one line", "texts", "twice", "most"],
)
def test_layouts_of_rfc_7468(text: str) -> None:
    assert ClientCertificate(hash=der_hash(DER), pem=text) == read_pem(text)


def test_a_certificate_that_authorities_issue_in_spite_of_rfc_5280() -> None:
    """A serial number that is negative harms nobody here."""
    serial = DER.index(b"\xa0\x03\x02\x01\x02\x02") + 7
    negative = DER[:serial] + b"\xf0" + DER[serial + 1 :]

    assert der_hash(negative) == read_pem(block(negative)).hash


@pytest.mark.parametrize("text", ["", " ", "\n", "certificate", base64.b64encode(DER).decode()])
def test_no_pem(text: str) -> None:
    assert "no PEM certificate" in refusal(text)


@pytest.mark.parametrize("label", PRIVATE_KEYS)
@pytest.mark.parametrize(
    "layout",
    ["{key}", "{key}{cert}", "{cert}{key}", "{indented}", "{cut}", "{tail}", "{joined}"],
)
def test_a_private_key_is_named_wherever_it_is(label: str, layout: str) -> None:
    """Also in a block that is indented, cut or all on one line."""
    key = block(b"a secret that stays one", label)
    text = layout.format(
        key=key,
        cert=BLOCK,
        indented=key.replace("-----BEGIN", "  -----BEGIN"),
        cut=BLOCK + key[:-20],
        tail=key[key.index("\n") :] + BLOCK,
        joined=key.replace("\n", " "),
    )

    for spelling in (text, text.replace("\n", "\\n"), text.replace("\n", "\r\n"), text.lower()):
        message = refusal(spelling)
        assert "private key" in message
        assert "nothing was kept" in message


@pytest.mark.parametrize(
    "label", ["CERTIFICATE REQUEST", "PUBLIC KEY", "X509 CRL", "TRUSTED CERTIFICATE", "PKCS7", ""]
)
def test_a_block_that_is_not_a_certificate(label: str) -> None:
    """Even behind one, and even when it holds one."""
    assert "block 1 is not a certificate" in refusal(block(DER, label))
    assert "block 2 is not a certificate" in refusal(BLOCK + block(DER, label))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (BLOCK[:200], "no END line"),
        (BLOCK + BLOCK[:200], "block 2 has no END line"),
        (BLOCK[:200] + BLOCK, "block 1 has no END line"),
        (BLOCK[30:], "block 1 has no BEGIN line"),
        (BLOCK.replace("-----\n", "----\n", 1), "with five dashes on each side"),
        (
            BLOCK.replace("END CERTIFICATE", "END PUBLIC KEY"),
            "END line does not say what its BEGIN",
        ),
        (BLOCK.replace("M", "!"), "not base64"),
        (BLOCK.replace("\nMI", "\nProc-Type: 4,ENCRYPTED\n\nMI"), "not base64"),
        (block(b""), "not an X.509 certificate"),
        (block(b"0\x82"), "not an X.509 certificate"),
        (block(DER[:-1]), "not an X.509 certificate"),
        (block(DER + b"\0"), "not an X.509 certificate"),
        (BLOCK + block(b"junk"), "certificate 2 is broken"),
        (BLOCK * (MAX_BLOCKS + 1), f"more than {MAX_BLOCKS} certificates"),
        (BLOCK + "\ud800", "not UTF-8"),
    ],
)
def test_broken_certificates(text: str, complaint: str) -> None:
    assert complaint in refusal(text)


def test_size_is_counted_in_bytes_as_sent() -> None:
    room = MAX_PEM_BYTES - len(BLOCK)
    most = BLOCK + "\u00e9" * (room // 2) + " " * (room % 2)

    assert most == read_pem(most).pem
    assert f"longer than {MAX_PEM_BYTES} bytes" in refusal(most + " ")
    assert "longer than" in refusal(BLOCK + "\\n" * (room // 2 + 1))


@pytest.mark.parametrize(
    "unit",
    [
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\n",
        "-----END -",
        "-----BEGIN ",
        "-----BEGIN -",
        "-BEGIN",
        "- ",
        "-",
        " \t",
        "\n",
        "\\",
        "\\n",
        "A",
    ],
)
def test_no_text_takes_long(unit: str) -> None:
    """64 KiB of whatever a parser might stumble over are refused at once."""
    text = (unit * MAX_PEM_BYTES)[:MAX_PEM_BYTES]
    started = time.process_time()

    for hostile in (text, "-----BEGIN CERTIFICATE-----\n" + text[30:], "-----BEGIN " + text[30:]):
        refusal(hostile)

    assert time.process_time() - started < 1


def accepted_or_refused(text: str) -> None:
    try:
        certificate = read_pem(text)
    except InvalidCertificate:
        return

    first = re.search(r"-----BEGIN CERTIFICATE-----([^-]*)", certificate.pem)
    assert first is not None
    assert certificate.hash == der_hash(base64.b64decode(first[1]))


def test_a_refusal_quotes_nothing() -> None:
    """Whatever stands in the text, labels included, the message is ours alone."""
    secret = "5ecret"
    for text in (
        secret,
        BLOCK + block(DER, secret),
        BLOCK.replace("MI", secret),
        block(secret.encode()),
        BLOCK.replace("END CERTIFICATE", f"END {secret}"),
        f"-----BEGIN {secret}",
        block(DER, f"{secret} PRIVATE KEY"),
    ):
        assert secret not in refusal(text)


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc", "Zs", "Pd"])))
def test_any_text_is_accepted_or_refused(text: str) -> None:
    """No text whatever raises anything else."""
    accepted_or_refused(text)
    accepted_or_refused(BLOCK + text)
    accepted_or_refused(text + BLOCK)


mutations = st.lists(
    st.tuples(
        st.sampled_from(["change", "delete", "insert", "swap"]),
        st.integers(0, len(CHAIN)),
        st.sampled_from(string.printable + "\u00e9\u2028\\") | st.characters(),
    ),
    min_size=1,
    max_size=6,
)


@given(st.sampled_from(sorted(TEXTS)), mutations)
def test_any_mutated_certificate_is_accepted_or_refused(
    name: str, changes: list[tuple[str, int, str]]
) -> None:
    """Characters flipped, deleted or inserted in what was a certificate."""
    text = TEXTS[name]
    for change, place, character in changes:
        at = place % len(text)
        match change:
            case "change":
                text = text[:at] + character + text[at + 1 :]
            case "delete":
                text = text[:at] + text[at + 1 :]
            case "insert":
                text = text[:at] + character + text[at:]
            case _:
                text = text[at:] + text[:at]
    accepted_or_refused(text)


@given(st.lists(st.tuples(st.integers(0, len(DER) - 1), st.integers(0, 255)), max_size=4))
def test_any_mutated_der_is_accepted_or_refused(changes: list[tuple[int, int]]) -> None:
    """What is no longer a certificate inside, in a block that is faultless outside."""
    der = bytearray(DER)
    for place, value in changes:
        der[place] = value
    accepted_or_refused(block(bytes(der)))


@given(st.binary(max_size=200))
def test_any_der_is_accepted_or_refused(der: bytes) -> None:
    accepted_or_refused(block(der))
