"""Reads `[redis]` of the settings: where Redis is, and whether it is one server or many."""

import re
import ssl
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import unquote

from csms_redis import files
from csms_redis.redis.address import Address, Tls
from csms_redis.redis.cluster import Cluster
from csms_redis.redis.sentinel import Sentinel
from csms_redis.redis.standalone import Standalone
from csms_redis.redis.topology import Topology
from csms_redis.settings import BadSettings, RedisSettings

EMBEDDED = "embedded"
_REDIS, _SENTINEL = 6379, 26379  # ports
Kind: TypeAlias = Literal["standalone", "unix", "sentinel", "cluster"]
_SCHEMES: dict[str, Kind] = {
    "redis": "standalone",
    "rediss": "standalone",
    "unix": "unix",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
_EXAMPLES: dict[Kind, str] = {
    "standalone": "redis://host:6379/0",
    "unix": "unix:///run/redis/redis.sock",
    "sentinel": "redis+sentinel://host1:26379,host2:26379/mymaster",
    "cluster": "redis+cluster://host1:6379,host2:6379",
}
_NAME = re.compile(r"[A-Za-z0-9._-]+")  # of a host, and of what sentinels watch
_NO_URL = re.compile(r"[\s\x00-\x1f\x7f]")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


class BadUrl(ValueError):
    """`redis.url` cannot be read. The message is one line, and quotes nothing of the URL.

    A password with a character that has a meaning in URLs may stand in any part of the URL.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """The parts of a URL, percent-decoded."""

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""  # of a Unix socket
    name: str = ""  # of what sentinels watch
    db: int = 0
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        """The kind alone: a password must not reach a traceback."""
        return f"<RedisUrl {self.kind}>"


def parse(url: str) -> RedisUrl:
    """Read the URL of a Redis, of sentinels, or of nodes of a cluster.

    Raises:
        BadUrl: what is wrong and how it should look.
    """
    scheme, separator, rest = url.partition("://")
    kind = _SCHEMES.get(scheme.lower())
    if kind is None or not separator:
        raise BadUrl(
            f"must be embedded, or start with {'://, '.join(_SCHEMES)}://, "
            f"as in {_EXAMPLES['standalone']}"
        )
    if _NO_URL.search(rest):
        raise BadUrl("has a space or a control character: percent-encode it, a space as %20")
    if "#" in rest:
        raise BadUrl("has a '#': percent-encode it as %23")
    rest, options, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    # the path of a socket may have an '@', where it cannot be taken for the login's
    if "@" in path and (kind != "unix" or (authority and "@" not in authority)):
        raise BadUrl(
            "has a '/' before an '@': in a user name or password, percent-encode it as %2F"
        )
    login, at, hosts = authority.rpartition("@")
    username, password = _login(login) if at else (None, None)
    if kind == "unix":
        if hosts:
            raise BadUrl(f"the socket's path must be absolute, as in {_EXAMPLES[kind]}")
        path, db = _socket(slash + path, query)
        return RedisUrl(
            kind=kind, tls=False, path=path, db=db, username=username, password=password
        )
    if options:
        raise BadUrl("takes no options after '?'; in a user name or password, '?' is %3F")
    name, db = _path(path, kind)
    return RedisUrl(
        kind=kind,
        tls=scheme.lower().startswith("rediss"),
        hosts=_hosts(hosts, kind),
        name=name,
        db=db,
        username=username,
        password=password,
    )


def _login(login: str) -> tuple[str | None, str | None]:
    """The user and the password; None for either that the URL does not have."""
    if "@" in login:
        raise BadUrl("has a '@' in a user name or password: percent-encode it as %40")
    username, colon, password = login.partition(":")
    if username and colon:
        return _decode(username), _decode(password)
    return _decode(username) or None, _decode(password) or None


def _decode(text: str) -> str:
    if text.count("%") != len(_ESCAPE.findall(text)):
        raise BadUrl("has a '%' that is followed by no code: percent-encode it as %25")
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadUrl("has percent-encoded characters that are not UTF-8") from None


def _socket(path: str, query: str) -> tuple[str, int]:
    """The path and the database of a Unix socket."""
    if "@" in path:
        raise BadUrl("has a '@' in the socket's path: percent-encode it as %40")
    path = _decode(path)
    if not path.strip("/") or "\0" in path:
        raise BadUrl(f"names no socket, as in {_EXAMPLES['unix']}")
    key, equals, value = query.partition("=")
    if query and (key, equals) != ("db", "="):
        raise BadUrl("takes only ?db= after the socket's path")
    return path, _database(value)


def _path(path: str, kind: Kind) -> tuple[str, int]:
    """What comes after the hosts: the name that sentinels have for a master, and a database."""
    if kind == "cluster" and path:
        raise BadUrl(f"a cluster has no databases to choose from: {_EXAMPLES[kind]} ends there")
    if kind != "sentinel":
        return "", _database(path)
    name, _, database = path.partition("/")
    if not _NAME.fullmatch(name):
        raise BadUrl(
            "names no master that the sentinels watch (letters, digits, '.', '_' and '-'), "
            f"as in {_EXAMPLES[kind]}"
        )
    return name, _database(database)


def _hosts(text: str, kind: Kind) -> tuple[tuple[str, int], ...]:
    default = _SENTINEL if kind == "sentinel" else _REDIS
    hosts = tuple(_host(one, default, _EXAMPLES[kind]) for one in text.split(","))
    if kind == "standalone" and len(hosts) > 1:
        raise BadUrl(
            "names several hosts, which only redis+sentinel:// and redis+cluster:// take, "
            f"as in {_EXAMPLES['cluster']}"
        )
    if len(set(hosts)) < len(hosts):
        raise BadUrl("names a host and port twice")
    return hosts


def _host(text: str, default: int, example: str) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, port = text.removeprefix("[").partition("]")
        try:
            host = str(IPv6Address(host))
        except ValueError:
            raise BadUrl("has something in brackets that is no IPv6 address") from None
        if not bracket or port[:1] not in {"", ":"}:
            raise BadUrl("has a bracket that is not closed, or no port behind it: [::1]:6379")
        port = port.removeprefix(":")
    else:
        host, _, port = text.partition(":")
        if not host:
            raise BadUrl(f"names no host, as in {example}")
        if ":" in port:
            raise BadUrl("has too many colons in a host: IPv6 goes in brackets, as in [::1]:6379")
        if not _NAME.fullmatch(host):
            raise BadUrl(f"names something that is no host, where {example} has one")
        host = host.lower()
    if not port:
        return host, default
    if not (_is_number(port) and 0 < int(port) < 65536):
        raise BadUrl(f"the port must be a number from 1 to 65535, as in {example}")
    return host, int(port)


def _database(text: str) -> int:
    if not text:
        return 0
    if not _is_number(text):
        raise BadUrl(f"the database must be a number, as in {_EXAMPLES['standalone']}")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 6


def configured(settings: RedisSettings) -> Topology | None:
    """Make the topology that `[redis]` describes; None for the embedded store.

    Raises:
        BadSettings: a setting, or a file that one names, cannot be used.
    """
    url = settings.url.get_secret_value()
    if url == EMBEDDED:
        _refuse_useless(settings, _SENTINEL_ONLY | _TLS_ONLY | _NOT_EMBEDDED)
        return None
    try:
        said = parse(url)
    except BadUrl as error:
        raise BadSettings(f"redis.url: {error}") from None
    _refuse_useless(
        settings,
        ({} if said.kind == "sentinel" else _SENTINEL_ONLY) | ({} if said.tls else _TLS_ONLY),
    )
    if settings.wait_for_disk and not settings.wait_replicas:
        raise BadSettings(
            "redis.wait_for_disk: is of use only with redis.wait_replicas: set that as well, or "
            "leave this out"
        )
    tls = _tls(settings) if said.tls else None
    password = said.password
    if settings.password_file is not None:
        password = _password("password_file", settings.password_file)
    if said.username is not None and password is None:
        raise BadSettings(
            "redis.url: names a user and no password: add one, or redis.password_file; "
            "a password alone is written as in redis://:password@host"
        )
    login = Address(path=said.path, tls=tls, db=said.db, username=said.username, password=password)
    match said.kind:
        case "sentinel":
            own = Address(
                tls=tls,
                username=settings.sentinel_username,
                password=_sentinel_password(settings),
            )
            sentinels = [own.at(host, port) for host, port in said.hosts]
            return Sentinel(sentinels, said.name, login, timeout=settings.timeout)
        case "cluster":
            seeds = [login.at(host, port) for host, port in said.hosts]
            return Cluster(seeds, timeout=settings.timeout)
        case "standalone":
            ((host, port),) = said.hosts
            return Standalone(login.at(host, port))
        case "unix":
            return Standalone(login)


_TLS_ONLY = dict.fromkeys(
    ("tls_ca_file", "tls_cert_file", "tls_key_file", "tls_check_hostname"),
    "is of use only with a redis.url that starts with rediss",
)
_SENTINEL_ONLY = dict.fromkeys(
    ("sentinel_username", "sentinel_password_file"),
    "is of use only with a redis.url that starts with redis+sentinel:// or rediss+sentinel://",
)
_NOT_EMBEDDED = {
    "password_file": "the embedded store has no password",
    "wait_replicas": "the embedded store has no replicas",
    "wait_for_disk": "the embedded store always does",
}


def _refuse_useless(settings: RedisSettings, useless: dict[str, str]) -> None:
    """Refuse settings that would have no effect: who set them believes that they protect."""
    for name, reason in useless.items():
        if getattr(settings, name) != RedisSettings.model_fields[name].default:
            raise BadSettings(f"redis.{name}: {reason}")


def _sentinel_password(settings: RedisSettings) -> str | None:
    if settings.sentinel_password_file is not None:
        return _password("sentinel_password_file", settings.sentinel_password_file)
    if settings.sentinel_username is not None:
        raise BadSettings("redis.sentinel_username: wants redis.sentinel_password_file as well")
    return None


def _password(setting: str, file: Path) -> str:
    try:
        password = _read(setting, file).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadSettings(f"redis.{setting}: {file}: is not UTF-8 text") from None
    if not password:
        raise BadSettings(f"redis.{setting}: {file}: is empty")
    return password


def _tls(settings: RedisSettings) -> Tls:
    """The TLS of connections, as `[redis]` has it; its files are read once, to refuse bad ones."""
    ca, cert, key = settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file
    if key is not None and cert is None:
        raise BadSettings("redis.tls_key_file: wants redis.tls_cert_file as well")
    if ca is not None:
        _holds("tls_ca_file", ca, b"-----BEGIN CERTIFICATE-----", "certificate")
        try:
            Tls(ca_file=ca).read()
        except OSError as error:
            raise BadSettings(f"redis.tls_ca_file: {ca}: {_reason(error)}") from None
    if cert is not None:
        _holds("tls_cert_file", cert, b"-----BEGIN CERTIFICATE-----", "certificate")
        setting, file = ("tls_cert_file", cert) if key is None else ("tls_key_file", key)
        pem = _holds(setting, file, b"PRIVATE KEY-----", "private key")
        if b"ENCRYPTED" in pem:  # OpenSSL would ask a terminal for its password
            raise BadSettings(f"redis.{setting}: {file}: the key is encrypted: store it decrypted")
        try:
            Tls(cert_file=cert, key_file=key).read()
        except OSError as error:
            raise BadSettings(f"redis.{setting}: {file}: {_reason(error)}") from None
    return Tls(ca_file=ca, cert_file=cert, key_file=key, check_hostname=settings.tls_check_hostname)


def _reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return str(error.strerror)
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not that of the certificate in redis.tls_cert_file"
    return "OpenSSL cannot read it"


def _holds(setting: str, file: Path, start: bytes, what: str) -> bytes:
    pem = _read(setting, file)
    if start not in pem:
        raise BadSettings(f"redis.{setting}: {file}: holds no {what} (PEM)")
    return pem


def _read(setting: str, file: Path) -> bytes:
    try:
        return files.read(file)
    except OSError as error:
        raise BadSettings(f"redis.{setting}: {file}: {error.strerror}") from None
