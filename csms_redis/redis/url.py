"""`redis.url`: what it may say and what it means to redis-py."""

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from csms_redis.settings import BadSettings, RedisSettings

EMBEDDED = "embedded"
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")
_SCHEMES = ("redis", "rediss", "unix")


class BadUrl(ValueError):
    """`redis.url` makes no sense; the message is one line and shows no password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one Redis listens, and as whom to speak to it."""

    host: str = ""
    port: int = 6379
    path: str = ""  # of a Unix socket; wins over host and port
    tls: bool = False
    db: int = 0
    username: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        """The address for people, without user and password."""
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"

    def __repr__(self) -> str:
        """As `str`: a password must not reach a traceback."""
        return f"<Address {self}>"


def parse(url: str) -> Address:
    """Read a `redis://`, `rediss://` or `unix://` URL.

    Raises:
        BadUrl: what is wrong and how it should look.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl("the host or the port is not valid, as in redis://host:6379/0") from None
    if parts.scheme not in _SCHEMES:
        raise BadUrl(
            "must be embedded or start with redis://, rediss:// or unix://, as in redis://host:6379/0"
        )
    if parts.fragment:
        raise BadUrl("has a '#': percent-encode it as %23 in a user name or password")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    if parts.scheme == "unix":
        if parts.hostname:
            raise BadUrl("the socket's path must be absolute, as in unix:///run/redis/redis.sock")
        return _unix(unquote(parts.path), parts.query, user, password)
    if parts.query:
        raise BadUrl("takes no options after '?'")
    if not parts.hostname:
        raise BadUrl("names no host, as in redis://host:6379/0")
    if not _HOST.fullmatch(parts.hostname):
        raise BadUrl("names something that is no host, where redis://host:6379/0 has one")
    if port == 0:
        raise BadUrl("the port must be 1 to 65535")
    return Address(
        host=parts.hostname,
        port=port or 6379,
        tls=parts.scheme == "rediss",
        db=_database(parts.path.removeprefix("/")),
        username=user,
        password=password,
    )


def _unix(path: str, query: str, user: str | None, password: str | None) -> Address:
    if not path.strip("/"):
        raise BadUrl("names no socket, as in unix:///run/redis/redis.sock")
    key, _, value = query.partition("=")
    if key not in {"", "db"}:
        raise BadUrl("takes only ?db= after the socket's path")
    return Address(path=path, db=_database(value), username=user, password=password)


def _database(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise BadUrl("the database must be a number, as in redis://host:6379/0")
    return int(text)


def configured(settings: RedisSettings) -> Address | None:
    """Where `[redis]` says that Redis is; None for the embedded store.

    Raises:
        BadSettings: `redis.url` or `redis.password_file` cannot be used.
    """
    url = settings.url.get_secret_value()
    if url == EMBEDDED:
        return None
    try:
        address = parse(url)
    except BadUrl as error:
        raise BadSettings(f"redis.url: {error}") from None
    if settings.password_file is None:
        return address
    try:
        password = settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise BadSettings(f"redis.password_file: {settings.password_file}: {reason}") from None
    return replace(address, password=password)
