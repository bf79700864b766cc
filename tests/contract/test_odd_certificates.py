"""Certificates and wrappings as the field has them, beside a judge that is not ours: OpenSSL."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import warnings
from base64 import b64encode, encodebytes
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
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
    load_pem_x509_certificate,
    load_pem_x509_certificates,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from csms_redis.contract import der
from csms_redis.contract.certificates import (
    InvalidCertificate,
    certificate_hash,
    der_hash,
    read_pem,
    text_of,
)
from csms_redis.contract.der import Form, NotDer
from csms_redis.contract.doubts import Doubt
from tests.conftest import DATA, wait_for
from tests.support.odd_certificates import Authority, Odd, odd_certificates, tlv
from tests.support.service import free_port

CASES = DATA / "certificates" / "odd"
SYSTEM = Path("/etc/ssl/certs")
OPENSSL = shutil.which("openssl")
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

CA = Authority()
ODD = list(odd_certificates(CA))
KEY = ec.generate_private_key(ec.SECP256R1())
LEAF = CA.issue(KEY)
ROOT = load_pem_x509_certificate(CA.pem.encode()).public_bytes(Encoding.DER)


def block(der_: bytes, label: str = "CERTIFICATE") -> str:
    return f"-----BEGIN {label}-----\n{encodebytes(der_).decode()}-----END {label}-----\n"


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


@pytest.mark.parametrize("file", sorted(CASES.glob("*.pem")), ids=lambda file: file.name)
def test_files_of_the_field(file: Path) -> None:
    """The hash is that of the first certificate; what is kept is PEM that OpenSSL reads."""
    certificate = read_pem(text_of(file.read_bytes()))

    assert certificate.hash == judged(certificate.pem)
    first = {"leaflast.pem": "CY-lHxP57AGFZ_5v5PiJZZ6KC01yD1UhAOPHXMMgX5c="}
    if file.name in {"bom.pem", "nginx_escaped.pem"}:
        assert certificate.hash == "dUukZOX8zsicrPuCv7SBNHSNoiZSqh1X4ChijTrn9po="
    assert certificate.hash == first.get(file.name, certificate.hash)
    assert certificate.doubts == ((Doubt.CHAIN_ORDER,) if file.name in first else ())


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.kind)
def test_what_openssl_reads_is_taken(odd: Odd) -> None:
    """Its hash is OpenSSL's; no details, or some, and never a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        certificate = read_pem(block(odd.der))

    assert certificate.hash == judged(block(odd.der)) == der_hash(odd.der)
    assert certificate.pem == block(odd.der)
    assert certificate.doubts == ()


NGINX_CONFIGURATION = """\
daemon off;
pid {home}/pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {home};
  proxy_temp_path {home};
  fastcgi_temp_path {home};
  uwsgi_temp_path {home};
  scgi_temp_path {home};
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {home}/ca.pem;
    ssl_certificate_key {home}/ca.key;
    ssl_client_certificate {home}/ca.pem;
    ssl_verify_client on;
    return 200 "$ssl_client_escaped_cert";
  }}
}}
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an nginx that lets in whom the CA has signed, and answers the certificate."""
    if NGINX is None:
        pytest.skip("nginx is not installed: apt install nginx-light")
    home, port = tmp_path_factory.mktemp("nginx"), free_port()
    home.chmod(0o755)
    (home / "ca.pem").write_text(CA.pem)
    (home / "ca.key").write_bytes(
        CA.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (home / "nginx.conf").write_text(NGINX_CONFIGURATION.format(home=home, port=port))

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    command = [NGINX, "-p", str(home), "-c", str(home / "nginx.conf"), "-e", "stderr"]
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(lambda: process.poll() is not None or listens(), "it listens")
            assert process.poll() is None, (home / "log").read_text()
            yield port
        finally:
            process.terminate()
            process.wait(20)


def let_in(port: int, odd: Odd, home: Path) -> str | None:
    """What nginx answers a client with this certificate; None if it does not let it in."""
    (home / "own.pem").write_text(block(odd.der) + odd.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.load_cert_chain(home / "own.pem")
    except ssl.SSLError:  # OpenSSL's client refuses its own certificate
        return None
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    head, _, body = answer.decode().partition("\r\n\r\n")
    return body if " 200 " in head.partition("\r\n")[0] else None


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.kind)
def test_whom_nginx_lets_in_is_found(nginx: int, tmp_path: Path, odd: Odd) -> None:
    """A real handshake; what nginx then says of the client is read, and has the same hash."""
    escaped = let_in(nginx, odd, tmp_path)

    assert (escaped is not None) is odd.verified
    if escaped is not None:
        assert "%0A" in escaped
        assert read_pem(escaped).hash == der_hash(odd.der)
        assert read_pem(escaped).pem == proper(odd.der)


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


def test_roots_of_the_system_and_of_certifi(capfd: pytest.CaptureFixture[str]) -> None:
    """All are taken, each by the hash that its DER has, and each is a doubt."""
    certifi = pytest.importorskip("certifi")
    bundles = [Path(certifi.where()), *(SYSTEM.glob("*.pem") if SYSTEM.is_dir() else ())]
    seen = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other reader
        ders = {
            one.public_bytes(Encoding.DER)
            for bundle in bundles
            for one in load_pem_x509_certificates(bundle.read_bytes())
        }
    for der_ in ders:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            certificate = read_pem(proper(der_))
        seen += 1
        assert (certificate.hash, certificate.pem) == (der_hash(der_), proper(der_))
        assert certificate.doubts == (Doubt.CA_CERTIFICATE,)
        assert {"subject", "notAfter"} <= certificate.details.keys()
    assert seen > 100
    assert capfd.readouterr() == ("", "")


@given(st.binary(max_size=300))
def test_any_bytes_have_a_form(data: bytes) -> None:
    """Hostile lengths end in no other error, and nothing is read beyond the end."""
    der.form(data)
    der.form(b"\x30\x82" + len(data).to_bytes(2, "big") + data)
    try:
        first = der.element(data, 0, len(data))
        children = list(der.elements(data, first))
    except NotDer:
        return
    assert 0 < first.start <= first.end <= len(data)
    for child in children:
        assert first.start < child.start <= child.end <= first.end


@given(
    st.lists(st.tuples(st.integers(0, len(LEAF) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(LEAF)),
)
def test_a_changed_certificate_is_taken_or_refused(
    changes: list[tuple[int, int]], cut: int
) -> None:
    """Whatever byte is another one, and wherever it is cut."""
    data = bytearray(LEAF)
    for at, value in changes:
        data[at] = value
    for der_ in (bytes(data), LEAF[:cut], bytes(data)[:cut]):
        try:
            certificate = read_pem(block(der_))
        except InvalidCertificate:
            continue
        assert certificate.hash == der_hash(der_)


@given(st.recursive(
    st.binary(max_size=6).map(lambda data: tlv(0x02, data)),
    lambda inner: st.tuples(
        st.sampled_from([0x30, 0x31, 0xA0, 0xA3, 0x03, 0x06, 0x04]), st.lists(inner, max_size=8)
    ).map(lambda both: tlv(both[0], *both[1])),
    max_leaves=40,
))  # fmt: skip
def test_any_structure_has_a_form(data: bytes) -> None:
    if der.form(data) is Form.CERTIFICATE:
        der.outline(data)


def test_many_elements_are_not_looked_at() -> None:
    many = tlv(0x30, *[b"\x02\x00"] * 30_000)
    assert der.form(many) is Form.OTHER
    deep = b""
    for _ in range(2000):
        deep = tlv(0x30, deep)
    assert der.form(deep) is Form.OTHER
