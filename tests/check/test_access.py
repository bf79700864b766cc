"""`csms-redis check` on access control and TLS."""

from pathlib import Path

import pytest

from csms_redis.access.secret import hash_of
from csms_redis.check.access import access
from csms_redis.settings import AuthSettings, ClientSettings, Role, ServerSettings, TlsSettings
from tests.support.topologies.authority import Authority

ANYWHERE = "::"


def told(auth: AuthSettings, server: ServerSettings) -> list[str]:
    """The findings that are not good."""
    return [f.text for f in access(auth, server) if f.level != "ok"]


def client(*secrets: str, role: Role = Role.GATEWAY) -> AuthSettings:
    """One client with these secrets."""
    hashes = [hash_of(secret.encode()).hex() for secret in secrets]
    return AuthSettings(clients={"maeve": ClientSettings(roles=[role], secret_hashes=hashes)})


def test_nothing_is_said_of_this_machine_alone() -> None:
    assert told(AuthSettings(), ServerSettings()) == []
    assert told(client("long and random"), ServerSettings()) == []


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (AuthSettings(), "everyone who reaches"),
        (client("long and random"), "secrets are sent unencrypted"),
        (client("maeve"), "easily guessed"),
        (client("changeme"), "easily guessed"),
        (client(), "has no secret"),
        (client("a1", "b2", "c3"), "has 3 secrets"),
        (client("long", role=Role.OPERATOR), "no client has the role gateway"),
    ],
)
def test_weak_settings(auth: AuthSettings, expected: str) -> None:
    assert expected in "\n".join(told(auth, ServerSettings(host=ANYWHERE)))


def test_files_that_others_may_use(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(hash_of(b"long").hex(), "utf-8")
    file.chmod(0o666)
    one = ClientSettings(roles=[Role.GATEWAY], secret_file=file)
    assert told(AuthSettings(clients={"maeve": one}), ServerSettings()) == [
        f"others may write {file}, and so let themselves in: chmod 644"
    ]
    file.unlink()
    (missing,) = told(AuthSettings(clients={"maeve": one}), ServerSettings())
    assert "cannot be read" in missing


def test_certificates(tmp_path: Path) -> None:
    """One of a day, whose key everyone may read; then one without its key."""
    pair = Authority(tmp_path).issue("server", "localhost")
    pair.key.chmod(0o644)
    tls = TlsSettings(certificate_file=pair.certificate, key_file=pair.key)
    soon, readable = told(AuthSettings(), ServerSettings(tls=tls))
    assert "runs out on" in soon
    assert "may read the key" in readable
    (broken,) = told(
        AuthSettings(), ServerSettings(tls=TlsSettings(certificate_file=pair.certificate))
    )
    assert "cannot be used" in broken or "is not PEM" in broken
