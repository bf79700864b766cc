"""The files for TLS to Redis: one that cannot be used ends the start."""

from pathlib import Path

import pytest

from tests.support.redis_settings import refused
from tests.support.topologies.authority import Authority


class TestTlsFiles:
    """A file that cannot be used ends the start; the line names the setting and the file."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> dict[str, Path]:
        """Good ones."""
        authority = Authority(tmp_path)
        pair = authority.issue("client")
        return {
            "tls_ca_file": authority.ca,
            "tls_cert_file": pair.certificate,
            "tls_key_file": pair.key,
        }

    @pytest.mark.parametrize("setting", ["tls_ca_file", "tls_cert_file", "tls_key_file"])
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (None, "No such file or directory"),
            ("directory", "it is no regular file"),
            (b"", "holds no {what} (PEM)"),
            (b"\x30\x82\x01\x0a", "holds no {what} (PEM)"),
            (b"-----BEGIN {PEM}-----\nAAAA\n-----END {PEM}-----\n", "OpenSSL cannot read it"),
        ],
    )
    def test_what_is_none(
        self,
        setting: str,
        content: bytes | str | None,
        says: str,
        files: dict[str, Path],
        tmp_path: Path,
    ) -> None:
        """Missing, a directory, empty, DER, garbage."""
        bad = tmp_path / "bad"
        what = "private key" if setting == "tls_key_file" else "certificate"
        if isinstance(content, bytes):
            bad.write_bytes(content.replace(b"{PEM}", what.upper().encode()))
        elif content is not None:
            bad.mkdir()
        told = refused("rediss://host", **files | {setting: bad})
        blamed = setting
        if "OpenSSL" in says and setting == "tls_cert_file":
            # it reads the two together
            blamed, bad = "tls_key_file", files["tls_key_file"]
        assert told == f"redis.{blamed}: {bad}: {says.format(what=what)}"

    def test_the_key_of_another(self, files: dict[str, Path], tmp_path: Path) -> None:
        other = Authority(tmp_path / "other").issue("other").key
        assert refused("rediss://host", **files | {"tls_key_file": other}) == (
            f"redis.tls_key_file: {other}: the key is not that of the certificate in "
            "redis.tls_cert_file"
        )

    def test_a_key_alone(self, files: dict[str, Path]) -> None:
        assert refused("rediss://host", tls_key_file=files["tls_key_file"]) == (
            "redis.tls_key_file: wants redis.tls_cert_file as well"
        )

    def test_a_certificate_without_a_key(self, files: dict[str, Path]) -> None:
        certificate = files["tls_cert_file"]
        assert refused("rediss://host", tls_cert_file=certificate) == (
            f"redis.tls_cert_file: {certificate}: holds no private key (PEM)"
        )

    def test_an_encrypted_key(self, files: dict[str, Path], tmp_path: Path) -> None:
        """OpenSSL would stop the start and ask whoever sits at a terminal."""
        (tmp_path / "locked").write_text(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
        )
        told = refused("rediss://host", **files | {"tls_key_file": tmp_path / "locked"})
        assert told.startswith(f"redis.tls_key_file: {tmp_path / 'locked'}: the key is encrypted")
