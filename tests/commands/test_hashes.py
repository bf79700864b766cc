"""`csms-redis hash-password` and `hash-certificate`, at a terminal, a pipe or nothing."""

import re
import ssl
import subprocess
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.conftest import DATA
from tests.support.commands import complaint, invoke
from tests.support.service import run
from tests.support.terminal import Terminal

CERTIFICATES = DATA / "certificates"
HASHES = {  # from the README there
    "HUBOpenProvCert001.pem": "1KOlEbBBpCleKkKEbIDwfq/u+zHhkzzH7mGYdfHz1SU=",
    "HUBOpenProvCert002.pem": "J/fo38lsssc8woIR4XMx2wfwvW5F+Z94JpM84kXpPFw=",
    "root-V2G-cert.pem": "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP+Ak=",
}
# From: printf PASSWORD | openssl dgst -sha256 -binary | base64
KEY_HASH = "8rdnAuBzmwK+Cm8VjPEht4AX7uFXTRfvRflhcU45r+k="
DEADBEEF = "8vjQ1YDt+v2iwsn41bIpzxJXcQQK0uGgAyAeTMOL0SI="


def answer(terminal: Terminal, first: bytes, repeated: bytes) -> None:
    """Type the password when it is asked for, and once more."""
    terminal.expect("Password: ")
    terminal.type(first + b"\n")
    terminal.expect("Repeat for confirmation: ")
    terminal.type(repeated + b"\n")


class TestHashPassword:
    """`hash-password` reads a pipe or asks; an argument is refused."""

    @pytest.mark.parametrize(
        ("stdin", "digest"),
        [
            (b"DEADBEEF", DEADBEEF),
            (b"DEADBEEF\n", DEADBEEF),
            (b"DEADBEEF\r\n", DEADBEEF),
            (b"password\n", "XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="),
            ("Größe €\n".encode(), "fmI5Olp5gBmQ7xMDmfYeeV8ABIdo7ULBziFM9e1i6Gk="),
        ],
    )
    def test_from_a_pipe(self, stdin: bytes, digest: str, tmp_path: Path) -> None:
        """One line end is not part of it."""
        result = invoke("hash-password", cwd=tmp_path, stdin=stdin)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{digest}\n".encode(), b"")

    def test_as_a_process(self, tmp_path: Path) -> None:
        """As in `csms-redis hash-password < file`."""
        result = run("hash-password", cwd=tmp_path, stdin=b"DEADBEEF\n")
        assert (result.returncode, result.stdout, result.stderr) == (
            0,
            f"{DEADBEEF}\n".encode(),
            b"",
        )

    @pytest.mark.parametrize("stdin", [b" DEADBEEF", b"DEADBEEF ", b"DEADBEEF\n\n"])
    def test_all_else_is_part_of_it(self, stdin: bytes, tmp_path: Path) -> None:
        """A gateway compares passwords as exact strings."""
        result = invoke("hash-password", cwd=tmp_path, stdin=stdin)
        assert re.fullmatch(rb"[A-Za-z0-9+/]{43}=\n", result.stdout)
        assert result.stdout != f"{DEADBEEF}\n".encode()

    @pytest.mark.parametrize(
        ("stdin", "digest"),
        [
            # From: printf KEY | xxd -r -p | openssl dgst -sha256 -binary | base64
            (b"00112233445566778899aabbccddeeff80fe0a01\n", KEY_HASH),
            (b"00112233445566778899AABBCCDDEEFF80FE0A01\r\n", KEY_HASH),
            (b" 00112233445566778899aabbccddeeff80fe0a01 \n", KEY_HASH),
            (b"4445414442454546", DEADBEEF),
        ],
    )
    def test_in_hex(self, stdin: bytes, digest: str, tmp_path: Path) -> None:
        """The bytes that the digits stand for are hashed, UTF-8 or not."""
        result = invoke("hash-password", "--hex", cwd=tmp_path, stdin=stdin)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{digest}\n".encode(), b"")

    def test_bytes_that_are_no_utf_8(self, tmp_path: Path) -> None:
        """As in hex: nothing is replaced and nothing is refused."""
        key = bytes.fromhex("00112233445566778899aabbccddeeff80fe0a01")
        result = run("hash-password", cwd=tmp_path, stdin=key)
        assert (result.stdout, result.stderr) == (f"{KEY_HASH}\n".encode(), b"")

    def test_bytes_that_are_no_utf_8_at_the_prompt(self, tmp_path: Path) -> None:
        """A line that says what to do, and not what was typed."""
        with Terminal("hash-password", cwd=tmp_path) as terminal:
            terminal.expect("Password: ")
            terminal.type(b"\xff\xfe\x80\n")
            said = terminal.rest()
            assert terminal.process.wait(20) == 1
        assert "csms-redis: what was typed is not UTF-8; send the password to" in said
        assert "Traceback" not in said

    @pytest.mark.parametrize(
        "stdin", [b"012", b"0g", b"DEADBEEF0", b"00 11", b"0x00", b"\xff", b"0" * 130]
    )
    def test_what_is_no_hex(self, stdin: bytes, tmp_path: Path) -> None:
        """It says so, and does not repeat it."""
        result = invoke("hash-password", "--hex", cwd=tmp_path, stdin=stdin)
        assert complaint(result).startswith("csms-redis: the password must be hexadecimal")
        assert (result.returncode, stdin in result.stderr) == (1, False)

    def test_what_may_be_hex_is_told(self, tmp_path: Path) -> None:
        """Where the characters are hashed; the password is not repeated."""
        for digits in (b"0123456789abcdef" * 2, b"00112233445566778899aabbccddeeff80fe0a01"):
            result = invoke("hash-password", cwd=tmp_path, stdin=digits)
            assert result.stderr.startswith(b"warning: password-is-hex: ")
            assert digits not in result.stderr
            assert result.stdout == b64encode(sha256(digits).digest()) + b"\n"
        for text in (b"0123456789abcdef" * 3, b"0123456789abcdefg" * 2, b"0" * 31):
            assert invoke("hash-password", cwd=tmp_path, stdin=text).stderr == b""

    @pytest.mark.parametrize("stdin", [b"", b"\n", b"\r\n"])
    def test_an_empty_one_is_refused(self, stdin: bytes, tmp_path: Path) -> None:
        """Exit code 1, one line."""
        result = invoke("hash-password", cwd=tmp_path, stdin=stdin)
        assert complaint(result) == "csms-redis: the password is empty"
        assert result.returncode == 1

    def test_an_argument_is_refused(self, tmp_path: Path) -> None:
        """Others could see it: exit code 2, no hash."""
        result = invoke("hash-password", "DEADBEEF", cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, b"")

    def test_from_a_prompt(self, tmp_path: Path) -> None:
        """Asked twice, not shown; only the hash is on standard output."""
        with Terminal("hash-password", cwd=tmp_path, stdout=subprocess.PIPE) as terminal:
            answer(terminal, b"DEADBEEF", b"DEADBEEF")
            assert terminal.process.stdout is not None
            assert terminal.process.stdout.read() == f"{DEADBEEF}\n".encode()
            assert terminal.process.wait(20) == 0
            assert "DEADBEEF" not in terminal.rest()

    def test_a_slip_at_the_prompt_is_asked_again(self, tmp_path: Path) -> None:
        """What was typed twice must be the same."""
        with Terminal("hash-password", cwd=tmp_path, stdout=subprocess.PIPE) as terminal:
            answer(terminal, b"DEADBEEF", b"DEADBEAF")
            terminal.expect("do not match")
            answer(terminal, b"DEADBEEF", b"DEADBEEF")
            assert terminal.process.stdout is not None
            assert terminal.process.stdout.read() == f"{DEADBEEF}\n".encode()

    def test_ctrl_c_at_the_prompt(self, tmp_path: Path) -> None:
        """It ends without a hash and without a traceback."""
        with Terminal("hash-password", cwd=tmp_path) as terminal:
            terminal.expect("Password: ")
            terminal.type(b"\x03")
            assert "Traceback" not in terminal.rest()
            assert terminal.process.wait(20) == 1


class TestHashCertificate:
    """`hash-certificate` prints what finds a certificate."""

    @pytest.mark.parametrize(("name", "padded"), HASHES.items())
    def test_of_one_file(self, name: str, padded: str, tmp_path: Path) -> None:
        """In the one spelling that all else has too, and the file's name."""
        file = str(CERTIFICATES / name)
        url_safe = padded.translate(str.maketrans("+/", "-_"))
        result = invoke("hash-certificate", file, cwd=tmp_path)
        assert result.stdout.decode() == f"{url_safe}  {file}\n"
        assert (result.returncode, result.stderr) == (0, b"")

    def test_of_several_files(self, tmp_path: Path) -> None:
        """One line each, in the order given."""
        result = invoke(
            "hash-certificate", *(str(CERTIFICATES / name) for name in HASHES), cwd=tmp_path
        )
        assert [line.split()[0] for line in result.stdout.decode().splitlines()] == [
            padded.translate(str.maketrans("+/", "-_")) for padded in HASHES.values()
        ]

    def test_a_chain_in_another_order(self, tmp_path: Path) -> None:
        """The first certificate counts, and that is told; a CA's alone may be asked for."""
        file = str(CERTIFICATES / "odd" / "leaflast.pem")
        result = invoke("hash-certificate", file, cwd=tmp_path)
        assert result.stdout.startswith(b"CY-lHxP57AGFZ_5v5PiJZZ6KC01yD1UhAOPHXMMgX5c=  ")
        assert result.stderr.startswith(f"warning: chain-order: {file}: the first".encode())
        assert result.returncode == 0

    def test_other_forms(self, tmp_path: Path) -> None:
        """Named with the command that converts them; odd wrappings are read."""
        whole = (CERTIFICATES / "odd" / "nginx_escaped.pem").read_bytes()
        (tmp_path / "escaped").write_bytes(whole)
        (tmp_path / "utf16").write_bytes(whole.decode().encode("utf-16"))
        hashes = [invoke("hash-certificate", n, cwd=tmp_path).stdout for n in ("escaped", "utf16")]
        assert {line.split()[0] for line in hashes} == {
            b"dUukZOX8zsicrPuCv7SBNHSNoiZSqh1X4ChijTrn9po="
        }
        pem = (CERTIFICATES / "root-V2G-cert.pem").read_text("ascii")
        (tmp_path / "der").write_bytes(ssl.PEM_cert_to_DER_cert(pem[pem.index("-----") :]))
        result = invoke("hash-certificate", "der", cwd=tmp_path)
        assert complaint(result).endswith(
            "convert it: openssl x509 -inform der -in FILE -out NEW.pem"
        )
        assert result.returncode == 1

    def test_a_file_that_fails_does_not_stop_the_others(self, tmp_path: Path) -> None:
        """Its line is on standard error, and the exit code is 1."""
        good = CERTIFICATES / "root-V2G-cert.pem"
        result = run("hash-certificate", "missing.pem", str(good), cwd=tmp_path)
        assert result.stderr == b"csms-redis: missing.pem: No such file or directory\n"
        assert result.stdout.decode().endswith(f"{good}\n")
        assert result.returncode == 1

    def test_what_is_no_certificate(self, tmp_path: Path) -> None:
        """One line that says so, for text, bytes, a broken one, nothing, a directory."""
        whole = (CERTIFICATES / "HUBOpenProvCert001.pem").read_text("utf-8")
        contents = {
            "text": b"hello",
            "bytes": bytes(range(256)),
            "empty": b"",
            "cut": whole[: whole.index("-----END")].encode(),
        }
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
            result = invoke("hash-certificate", name, cwd=tmp_path)
            assert complaint(result).startswith(f"csms-redis: {name}: ")
            assert result.returncode == 1
        result = invoke("hash-certificate", ".", cwd=tmp_path)
        assert complaint(result) == "csms-redis: .: Is a directory"
        assert result.returncode == 1

    def test_a_private_key(self, tmp_path: Path) -> None:
        """It is named as such, and nothing of it is shown."""
        pem = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        (tmp_path / "key.pem").write_bytes(pem)
        result = invoke("hash-certificate", "key.pem", cwd=tmp_path)
        assert "private key" in complaint(result)
        assert pem.splitlines()[1] not in result.stderr
        assert result.returncode == 1
