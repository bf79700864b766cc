"""Certificates and wrappings as the field has them, beside a judge that is not ours: OpenSSL."""

import os
import shutil
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import load_pem_x509_certificates

from csms_redis.contract.certificates import der_hash, read_pem, text_of
from csms_redis.contract.doubts import Doubt
from tests.conftest import DATA, wait_for
from tests.support.client_certificates import CA, KEY, LEAF, ROOT, judged, proper
from tests.support.odd_certificates import Odd, name, odd_certificates
from tests.support.pem import block
from tests.support.service import free_port

CASES = DATA / "certificates" / "odd"
SYSTEM = Path("/etc/ssl/certs")
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ODD = list(odd_certificates(CA))


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


def test_certificates_of_several_stations_are_told_of() -> None:
    """Only the first is looked up; a chain is no other station, whatever is in it and how often."""
    other = CA.issue(KEY, subject=name(b"cs002"))
    renewed = CA.issue(KEY, serial=b"\x08")
    for more in ([other], [ROOT, other], [other, ROOT], [renewed], [LEAF, renewed, ROOT]):
        assert read_pem("".join(map(proper, [LEAF, *more]))).doubts == (Doubt.OTHER_CERTIFICATE,)
    for more in ([], [ROOT], [LEAF], [LEAF, ROOT, LEAF, ROOT]):
        assert read_pem("".join(map(proper, [LEAF, *more]))).doubts == ()
    assert read_pem(proper(ROOT) + proper(other)).doubts == (
        Doubt.CA_CERTIFICATE,
        Doubt.CHAIN_ORDER,
    )


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.kind)
def test_what_openssl_reads_is_taken(odd: Odd) -> None:
    """Its hash is OpenSSL's; no details, or some, and never a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        certificate = read_pem(block(odd.der))

    read_by_openssl = judged(block(odd.der))
    if not (odd.kind == "a date without seconds" and ssl.OPENSSL_VERSION_INFO > (3, 1)):
        # OpenSSL 3.0 reads it, 3.6 does not
        assert read_by_openssl == der_hash(odd.der)
    assert certificate.hash == der_hash(odd.der)
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
