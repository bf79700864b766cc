"""The settings of the service: each with its type, its bounds and its default.

Flags of the command line win over environment variables, and these win over `config.toml`. The
file of that name at the top of the project says what each setting is for; a test keeps both alike.
"""

import os
import re
import tomllib
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from csms_redis.rules import rule_of

ENV_PREFIX = "CSMS_"
ENV_DELIMITER = "__"
CONFIG_VARIABLE = "CSMS_CONFIG"
SERVER_VARIABLES = tuple(
    f"CSMS_SERVER_{name}"
    for name in ("URL", "USER", "SECRET", "SECRET_FILE", "CA_FILE", "CERT_FILE", "KEY_FILE")
)
"""What commands read that ask a service over HTTP, see `commands.where`; no settings."""
DEFAULT_CONFIG = Path("config.toml")

_NEAR = 0.93  # of difflib's ratio: one letter more, less or other
_KUBERNETES = ("tcp://", "udp://")  # the value of CSMS_SERVER_PORT, of a Service called csms-server
_OF_KUBERNETES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_\w+)?)$")


class BadSettings(Exception):
    """The settings cannot be used; the message is one line for the operator."""


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004 pydantic reads ValueError
    return value


def _network(value: Any) -> IPv4Network | IPv6Network:
    """Read a network by itself: pydantic names each kind of a union by how it is built."""
    try:
        network = ip_network("" if isinstance(value, int) else str(value), strict=False)
    except ValueError:
        raise ValueError("must be a network, as 10.0.0.0/8 or fd00::/8") from None
    if int(network.network_address) != int(ip_interface(str(value))):
        raise ValueError("must be the network itself, as 10.0.0.0/8 and not 10.0.0.7/8")
    return network


Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Count = Annotated[int, BeforeValidator(_number), Field(ge=0)]
Seconds = Annotated[float, BeforeValidator(_number), Field(ge=0, le=86_400, allow_inf_nan=False)]
Timeout = Annotated[float, BeforeValidator(_number), Field(gt=0, le=86_400, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Section):
    """TLS on the listener; off without a certificate."""

    certificate_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.certificate_file is None and (self.key_file or self.client_ca_file):
            raise ValueError("certificate_file is missing: without it there is no TLS")
        return self


class ServerSettings(_Section):
    """The listener, and how a process starts and ends; times in seconds, sizes in bytes."""

    host: str = "127.0.0.1"
    port: Annotated[int, BeforeValidator(_number), Field(ge=0, le=65535)] = 9410
    backlog: Annotated[int, BeforeValidator(_number), Field(ge=1, le=65535)] = 4096
    keepalive_timeout: Timeout = 75
    request_timeout: Timeout = 10
    max_body: Annotated[int, BeforeValidator(_number), Field(ge=1024, le=2**26)] = 2**18
    max_connections: Count = 0
    drain_delay: Seconds = 0
    drain_timeout: Seconds = 15
    reuse_port: bool = False
    ready_without_redis: bool = True
    trusted_proxies: list[Network] = []
    tls: TlsSettings = TlsSettings()


class Role(StrEnum):
    """What a client may do."""

    GATEWAY = "gateway"  # the three lookups
    OPERATOR = "operator"  # every other operation
    METRICS = "metrics"  # /metrics


class ClientSettings(_Section):
    """One client: what it may do, and the SHA-256 hashes of its secrets."""

    roles: Annotated[list[Role], Field(min_length=1)]
    secret_hashes: list[Annotated[str, Field(pattern="^[0-9A-Fa-f]{64}$")]] = []
    secret_file: Path | None = None


class AuthSettings(_Section):
    """Who may call. While no client is named, everyone may."""

    clients: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")], ClientSettings] = {}


class ApiSettings(_Section):
    """How strictly requests are checked, and who is refused without a body."""

    strict: bool = False
    any_station_id: bool = False
    bodiless_refusals_for: list[Annotated[str, Field(pattern="^[!-~][ -~]{0,199}$")]] = [
        "Go-http-client"
    ]


class RedisSettings(_Section):
    """Where the records are, and when a write counts as stored; times in seconds."""

    url: SecretStr = SecretStr("embedded")
    password_file: Path | None = None
    sentinel_username: str | None = None
    sentinel_password_file: Path | None = None
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_check_hostname: bool = True
    data_dir: Path = Path("data")
    key_prefix: Annotated[str, Field(max_length=64)] = ""
    timeout: Timeout = 1
    max_connections: Annotated[int, BeforeValidator(_number), Field(ge=1)] = 32
    wait_replicas: Count = 0
    wait_for_disk: bool = False
    # WAIT takes whole milliseconds, and 0 of them mean for ever
    wait_timeout: Annotated[Timeout, Field(ge=0.001)] = 2


class LookupSettings(_Section):
    """What a process knows of the records, and how long a lookup waits; in seconds and bytes."""

    preload: bool = True
    preload_wait: Seconds = 30
    cache_entries: Count = 400_000
    cache_bytes: Count = 2**29
    stale_if_error: Seconds = 3600
    unknown_entries: Count = 100_000
    unknown_ttl: Seconds = 5
    timeout: Timeout = 6
    max_in_flight: Annotated[int, BeforeValidator(_number), Field(ge=1)] = 20_000


class TelemetrySettings(_Section):
    """What the service reports of its work: its log, and traces (OTLP)."""

    log_format: Literal["auto", "json", "text"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    trace_share: Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)] = 1


class Settings(BaseSettings):
    """All sections. Only `load` builds it, because only `load` knows the order of the sources."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
        extra="forbid",
        frozen=True,
    )

    server: ServerSettings = ServerSettings()
    auth: AuthSettings = AuthSettings()
    api: ApiSettings = ApiSettings()
    redis: RedisSettings = RedisSettings()
    lookup: LookupSettings = LookupSettings()
    telemetry: TelemetrySettings = TelemetrySettings()


class _Environment(EnvSettingsSource):
    """Settings from the environment; a list or a table is one variable with JSON."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Read the JSON of one variable.

        Raises:
            BadSettings: the value of a key is not JSON.
            ValueError: the value of a whole section is not JSON; a section has no variable.
        """
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            for name, given in os.environ.items():
                *section, key = name.lower().split(ENV_DELIMITER)
                if section and key == field_name and given == value:
                    raise BadSettings(
                        f"{name}: its value is not JSON: write a list or a table as JSON"
                    ) from None
            raise


def load(config: Path | None = None, flags: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Read the settings.

    Args:
        config: a TOML file that must exist; without it the file that `CSMS_CONFIG` names, else
            `config.toml` of the working directory where there is one.
        flags: the command line's values by section and key; they win over everything else.

    Raises:
        BadSettings: a setting is wrong. The message is one line that names it and says how it is
            wrong, without its value, which may be a secret.
    """
    file = _read_toml(config)
    _refuse_unknown_variables()

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del init_settings, env_settings, dotenv_settings, file_secret_settings
            return (
                InitSettingsSource(settings_cls, flags or {}),
                _Environment(settings_cls),
                InitSettingsSource(settings_cls, file),
            )

    try:
        return Layered()
    except ValidationError as error:
        raise BadSettings(_one_line(error)) from None
    except SettingsError:
        raise BadSettings(
            "a section cannot be set by one environment variable: "
            f"use {ENV_PREFIX}<SECTION>{ENV_DELIMITER}<KEY>, as in CSMS_SERVER__PORT"
        ) from None


def _read_toml(config: Path | None) -> dict[str, Any]:
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if CONFIG_VARIABLE in os.environ else None)
    path = named or DEFAULT_CONFIG
    if named is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadSettings(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path}: is not TOML: {error}") from None


def _refuse_unknown_variables() -> None:
    """Refuse a variable that nearly has the name of one that is known: it would have no effect.

    Other names without the delimiter are left alone: Kubernetes sets CSMS_REDIS_SERVICE_HOST and
    the like for a Service called csms-redis.
    """
    for name, value in os.environ.items():
        if name.upper().startswith(ENV_PREFIX):
            meant = _meant(name.upper())
            if meant is not None and not value.startswith(_KUBERNETES):
                raise BadSettings(f"{name}: is not known; is {meant} meant?")
        section, delimiter, _ = name.upper().removeprefix(ENV_PREFIX).partition(ENV_DELIMITER)
        if (
            delimiter
            and name.upper().startswith(ENV_PREFIX)
            and section.lower() not in Settings.model_fields
        ):
            known = ", ".join(Settings.model_fields)
            raise BadSettings(f"{name}: no such section; there are {known}")


def _meant(name: str) -> str | None:
    """The variable that is meant by a name that is not known; None where it is, or none is near."""
    settings = {
        f"{ENV_PREFIX}{section}{ENV_DELIMITER}{key}".upper()
        for section, field in Settings.model_fields.items()
        for key in field.default.__class__.model_fields
    }
    known = settings | {CONFIG_VARIABLE, *SERVER_VARIABLES}
    if any(name == each or name.startswith(f"{each}{ENV_DELIMITER}") for each in known):
        return None
    bare = name.replace("_", "")
    for each in known:
        if each.replace("_", "") == bare:
            return each
    if ENV_DELIMITER in name or _OF_KUBERNETES.search(name):
        return None  # its section and key are looked at by themselves
    near = get_close_matches(name, known, n=1, cutoff=_NEAR)
    return near[0] if near else None


def _one_line(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"] if part != "[key]")
    if problem["type"] == "extra_forbidden":
        return f"{where}: no such setting; config.toml lists them all"
    if where in Settings.model_fields:
        return (
            f"{where}: is a section: set its keys, as in "
            f"{ENV_PREFIX}{where.upper()}{ENV_DELIMITER}<KEY> or below [{where}] in the file"
        )
    return f"{where}: {rule_of(problem)}"
