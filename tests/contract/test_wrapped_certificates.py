"""Certificates in the wrappings that proxies, shells and spreadsheets put around them."""

import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from csms_redis.contract.certificates import der_hash, read_pem, text_of
from tests.support.client_certificates import CHAIN, KEY, LEAF, PEM, refusal


def indented(text: str) -> str:
    return "".join(f"\t{line}\n" for line in text.splitlines()).strip("\t")


WRAPPINGS: dict[str, Callable[[str], str]] = {
    "a mark": lambda text: f"\ufeff{text}",
    "a mark, and text before": lambda text: "\ufeffsubject=cs001\n" + text,
    "percent-escapes": quote,
    "all escaped": lambda text: quote(text, safe=""),
    "newlines escaped alone": lambda text: text.replace("\n", "%0A"),
    "CRLF escaped": lambda text: text.replace("\n", "%0d%0a"),
    "escaped as AWS does": lambda text: quote(text, safe="+=/"),
    "escaped as a form": quote_plus,
    "escaped twice": lambda text: quote(quote(text)),
    r"literal \r\n": lambda text: text.replace("\n", "\\r\\n"),
    r"literal \\n": lambda text: text.replace("\n", "\\\\n"),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "glued": lambda text: text.replace("-----\n-----", "----------"),
    "one line": lambda text: text.replace("\n", ""),
    "blanks for newlines": lambda text: text.replace("\n", " "),
    "tabs for newlines": lambda text: text.replace("\n", "\t"),
    "CR": lambda text: text.replace("\n", "\r"),
    "indented": indented,
    "indented by no-break blanks": lambda text: text.replace("\n", "\n\u00a0\u00a0"),
    "a zero-width blank": lambda text: text.replace("\nM", "\n\u200bM"),
    "quoted": lambda text: f'"{text.strip()}"',
    "in a header": lambda text: f'Hash=ab;Cert="{quote(text)}";Subject="CN=cs001"',
    "without padding": lambda text: text.replace("=", ""),
    "the old label": lambda text: text.replace("CERTIFICATE", "X509 CERTIFICATE"),
    "HTML's blanks": lambda text: text.replace("\n", " \u2003\n"),
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("text", [PEM, CHAIN], ids=["alone", "with its chain"])
def test_odd_wrappings_are_kept_as_proper_pem(text: str, wrap: Callable[[str], str]) -> None:
    wrapped = wrap(text)
    certificate = read_pem(wrapped)

    assert certificate.hash == der_hash(LEAF)
    assert certificate.pem.removeprefix("subject=cs001\n") == text
    assert read_pem(certificate.pem) == certificate


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_files_of_any_encoding(encoding: str) -> None:
    """The text around a block may be in another one; PowerShell writes UTF-16."""
    text = f"subject=Ladestation Größe\n{CHAIN}"
    certificate = read_pem(text_of(text.encode(encoding)))

    assert certificate.pem == text
    assert certificate.hash == der_hash(LEAF)


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_a_private_key_is_named_in_every_wrapping(wrap: Callable[[str], str]) -> None:
    key = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    assert "this holds a private key" in refusal(wrap(PEM + key).encode())
