"""Settings: where they come from, which one wins, and what a wrong one ends with."""

import os
import re
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from csms_redis.redis.url import configured
from csms_redis.settings import BadSettings, Settings, load
from tests.support.service import HOST, PASSWORD, Service, free_port, run, until, valkey

CONFIG = Path(__file__).parent.parent / "config.toml"
OPTIONAL = re.compile(r"^# (\w+ = .+)$", re.MULTILINE)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("CSMS_"):
            monkeypatch.delenv(name)
    return tmp_path


def plain(value: Any) -> Any:
    """A default as TOML can say it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, BaseModel):
        return {
            key: plain(field.default)
            for key, field in type(value).model_fields.items()
            if field.default is not None
        }
    return str(value) if isinstance(value, Path) else value


def keys_of(table: dict[str, Any], *above: str) -> set[tuple[str, ...]]:
    """The names of all settings in a table, with those of the tables around them."""
    return {
        found
        for key, value in table.items()
        for found in (keys_of(value, *above, key) if isinstance(value, dict) else {(*above, key)})
    }


def without_default(section: BaseModel, *above: str) -> set[tuple[str, ...]]:
    """The names of the settings that have no default."""
    found = set()
    for key, field in type(section).model_fields.items():
        if field.default is None:
            found.add((*above, key))
        elif isinstance(field.default, BaseModel):
            found |= without_default(field.default, *above, key)
    return found


def refused(**environment: str) -> str:
    """The line with which the settings of the environment are refused."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(BadSettings) as caught:
            configured(load().redis)
    (line,) = str(caught.value).splitlines()
    return line


class TestConfigToml:
    """The file at the top of the project is the list of all settings."""

    def test_has_every_setting_with_its_default(self) -> None:
        """No more, no less; what has no default stands in a comment."""
        listed = tomllib.loads(OPTIONAL.sub("", CONFIG.read_text("utf-8")))
        assert listed == {name: plain(getattr(Settings(), name)) for name in Settings.model_fields}

    def test_has_the_optional_ones_in_comments(self) -> None:
        """Taken out of the comment, each is a setting of that section that has no default."""
        text = CONFIG.read_text("utf-8")
        everything = keys_of(tomllib.loads(OPTIONAL.sub(r"\1", text)))
        listed = keys_of(tomllib.loads(text))
        assert everything - listed == without_default(Settings())

    def test_explains_each(self) -> None:
        """In a comment of its own."""
        lines = [line for line in CONFIG.read_text("utf-8").splitlines() if " = " in line]
        assert [line for line in lines if not re.search(r"\S +# \w", line)] == []

    def test_can_be_used_as_it_is(self) -> None:
        """It means the same as no file."""
        assert load(CONFIG).model_dump() == load().model_dump()


class TestWhereTheyComeFrom:
    """Flags win over the environment, that over the file, that over the defaults."""

    def test_precedence(self, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each layer takes the place of the one below, setting by setting."""
        (elsewhere / "config.toml").write_text(
            "[server]\nport = 1001\nbacklog = 11\nmax_body = 2001\n", "utf-8"
        )
        monkeypatch.setenv("CSMS_SERVER__PORT", "1002")
        monkeypatch.setenv("CSMS_SERVER__BACKLOG", "12")
        server = load(flags={"server": {"port": 1003}}).server
        assert (server.port, server.backlog, server.max_body) == (1003, 12, 2001)
        assert server.host == "127.0.0.1"

    def test_the_file(self, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`--config`, else $CSMS_CONFIG, else ./config.toml where there is one."""
        assert load().server.port == 9410
        for number, name in enumerate(["config.toml", "named.toml", "flag.toml"], 1001):
            (elsewhere / name).write_text(f"[server]\nport = {number}\n", "utf-8")
        assert load().server.port == 1001
        monkeypatch.setenv("CSMS_CONFIG", "named.toml")
        assert load().server.port == 1002
        assert load(Path("flag.toml")).server.port == 1003

    def test_variables_of_kubernetes_do_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It sets these for a Service called csms-redis, in every pod of its namespace."""
        for name, value in {
            "CSMS_REDIS_SERVICE_HOST": "10.0.0.1",
            "CSMS_REDIS_SERVICE_PORT": "9410",
            "CSMS_REDIS_PORT": "tcp://10.0.0.1:9410",
            "CSMS_REDIS_PORT_9410_TCP_ADDR": "10.0.0.1",
            "CSMS_SERVER_PORT": "tcp://10.0.0.2:80",
            "CSMS_PORT": "tcp://10.0.0.3:80",
        }.items():
            monkeypatch.setenv(name, value)
        assert load().model_dump() == Settings().model_dump()

    def test_a_service_takes_them_all(self, elsewhere: Path) -> None:
        """Flag, variable and named file in one start."""
        port, other = free_port(), free_port()
        (elsewhere / "my.toml").write_text(
            f'[server]\nport = {other}\n[telemetry]\nlog_format = "text"\n', "utf-8"
        )
        settings = {
            "CSMS_CONFIG": "my.toml",
            "CSMS_SERVER__PORT": str(other),
            "CSMS_TELEMETRY__LOG_FORMAT": "json",
            "CSMS_REDIS__KEY_PREFIX": "a:",
        }
        with Service(elsewhere, settings, port=port) as service:
            assert service.url == f"http://127.0.0.1:{port}"


PROXY = "server.trusted_proxies.0:"
BAD_NETWORKS = {
    '"10.0.0.7/8"': "the network itself, as 10.0.0.0/8 and not 10.0.0.7/8",
    '"fd00::7/8"': "the network itself",
    '"proxy"': "a network, as 10.0.0.0/8 or fd00::/8",
    '"10.0.0.0/8,fd00::/8"': "a network",
    "5": "a network",
    "true": "a network",
}


class TestWrongSettings:
    """One line that names the setting, and no value: it may be secret."""

    @pytest.mark.parametrize(
        ("toml", "line"),
        [
            ("[server]\nport = true", "server.port: must be a number, not true or false"),
            ('[server]\nport = "x"', "server.port: "),
            ("[server]\nport = 65536", "server.port: "),
            ("[server]\nport = -1", "server.port: "),
            ("[server]\nport = 1.5", "server.port: "),
            ("[server]\nhost = 1", "server.host: "),
            *(
                (f"[server]\ntrusted_proxies = [{wrong}]", f"{PROXY} must be {rule}")
                for wrong, rule in BAD_NETWORKS.items()
            ),
            ("[auth.clients.'a b']\nroles = ['gateway']", "auth.clients.a b: must match "),
            ("[server]\nbacklog = 0", "server.backlog: "),
            ("[server]\nkeepalive_timeout = nan", "server.keepalive_timeout: "),
            ("[server]\nkeepalive_timeout = inf", "server.keepalive_timeout: "),
            ("[server]\nkeepalive_timeout = 0", "server.keepalive_timeout: "),
            ("[server]\ndrain_timeout = -1", "server.drain_timeout: "),
            ("[server]\ndrain_delay = nan", "server.drain_delay: "),
            ("[server]\nmax_body = 1", "server.max_body: "),
            ('[api]\nstrict = "perhaps"', "api.strict: "),
            ("[redis]\nurl = 1", "redis.url: "),
            ("[redis]\ntimeout = nan", "redis.timeout: "),
            ("[redis]\ntimeout = -0.5", "redis.timeout: "),
            ("[redis]\ntimeout = true", "redis.timeout: must be a number"),
            ("[redis]\nmax_connections = 0", "redis.max_connections: "),
            ("[redis]\ntls_check_hostname = 2", "redis.tls_check_hostname: "),
            ("[redis]\nwait_replicas = -1", "redis.wait_replicas: "),
            ("[redis]\nwait_replicas = true", "redis.wait_replicas: must be a number"),
            ("[redis]\nwait_timeout = 0", "redis.wait_timeout: "),
            ("[redis]\nwait_timeout = 0.0004", "redis.wait_timeout: "),  # 0 ms are forever
            ("[lookup]\nstale_if_error = -1", "lookup.stale_if_error: "),
            ("[lookup]\ntimeout = nan", "lookup.timeout: "),
            ("[lookup]\ncache_entries = false", "lookup.cache_entries: must be a number"),
            ('[telemetry]\nlog_level = "loud"', "telemetry.log_level: "),
            ("[server]\nprot = 1", "server.prot: no such setting; config.toml lists them all"),
            ("[servre]\nport = 1", "servre: no such setting; config.toml lists them all"),
            ("port = 1", "port: no such setting; config.toml lists them all"),
            ("server = 1", "server: is a section: set its keys, as in CSMS_SERVER__"),
            ("[server\nport = 1", "config.toml: is not TOML: "),
            ("[server]\nport = 1\nport = 2", "config.toml: is not TOML: "),
        ],
    )
    def test_in_the_file(self, toml: str, line: str, elsewhere: Path) -> None:
        """A wrong type or value, an unknown name, broken TOML."""
        (elsewhere / "config.toml").write_text(toml, "utf-8")
        assert refused().startswith(line)

    def test_a_file_that_cannot_be_read(self, elsewhere: Path) -> None:
        """Missing though named, a directory, not text."""
        assert refused(CSMS_CONFIG="missing.toml") == (
            "missing.toml: cannot be read: No such file or directory"
        )
        assert refused(CSMS_CONFIG=str(elsewhere)) == f"{elsewhere}: cannot be read: Is a directory"
        (elsewhere / "latin.toml").write_bytes(b"# gr\xfc\xdfe\n")
        assert refused(CSMS_CONFIG="latin.toml") == "latin.toml: is not UTF-8 text"
        with pytest.raises(BadSettings, match=r"^flag\.toml: cannot be read"):
            load(Path("flag.toml"))

    @pytest.mark.parametrize(
        ("name", "value", "line"),
        [
            ("CSMS_SERVER__PORT", "x", "server.port: "),
            ("CSMS_SERVER__PORT", "", "server.port: "),
            ("CSMS_SERVER__PORT", "true", "server.port: "),
            ("CSMS_SERVER__DRAIN_TIMEOUT", "nan", "server.drain_timeout: "),
            ("CSMS_LOOKUP__TIMEOUT", "-1", "lookup.timeout: "),
            ("CSMS_SERVER__PROT", "1", "server.prot: no such setting"),
            ("CSMS_SERVRE__PORT", "1", "CSMS_SERVRE__PORT: no such section; there are server, "),
            ("CSMS_SERVER", "1", "server: is a section: set its keys, as in CSMS_SERVER__"),
            ("CSMS_SERVER", "{", "a section cannot be set by one environment variable: "),
            ("CSMS_REDIS", PASSWORD, "a section cannot be set by one environment variable: "),
            ("CSMS_REDIS__URI", PASSWORD, "redis.uri: no such setting"),
            ("CSMS_REDIS__URL__HOST", PASSWORD, "redis.url: "),
            ("CSMS_AUTH__CLIENTS", PASSWORD, "CSMS_AUTH__CLIENTS: its value is not JSON"),
            ("CSMS_auth__clients", "{", "CSMS_auth__clients: its value is not JSON"),
            (
                "CSMS_AUTH__CLIENTS__MAEVE__ROLES",
                "gateway",
                "CSMS_AUTH__CLIENTS__MAEVE__ROLES: its value is not JSON",
            ),
            (
                "CSMS_SERVER__TRUSTED_PROXIES",
                "10.0.0.0/8",
                "CSMS_SERVER__TRUSTED_PROXIES: its value is not JSON",
            ),
        ],
    )
    def test_in_the_environment(self, name: str, value: str, line: str) -> None:
        """A wrong type or value, an unknown section or key."""
        told = refused(**{name: value})
        assert told.startswith(line)
        assert PASSWORD not in told

    @pytest.mark.parametrize(
        "settings",
        [
            {"CSMS_SERVER__PORT": "x"},
            {"CSMS_SERVRE__PORT": "1"},
            {"CSMS_CONFIG": "missing.toml"},
            {"CSMS_REDIS__URL": f"redis://user:{PASSWORD}@host"},
            {"CSMS_REDIS__URL": "redis://host", "CSMS_REDIS__PASSWORD_FILE": "missing"},
        ],
    )
    def test_ends_the_start(self, settings: dict[str, str], elsewhere: Path) -> None:
        """One line on standard error, exit code 1, no traceback, nothing left behind."""
        result = run("serve", cwd=elsewhere, settings=settings)
        (line,) = result.stderr.decode().splitlines()
        assert line.startswith("csms-redis: ")
        assert PASSWORD not in line
        assert (result.returncode, result.stdout) == (1, b"")
        assert list(elsewhere.iterdir()) == []


class TestRedis:
    """What `[redis]` says of the Redis."""

    def test_the_password_from_a_file(self, elsewhere: Path) -> None:
        """A Valkey that requires it lets the service in; the log does not tell it."""
        (elsewhere / "secret").write_text(f"{PASSWORD}\n", "utf-8")
        with valkey(elsewhere / "v", "--requirepass", PASSWORD) as port:
            settings = {
                "CSMS_REDIS__URL": f"redis://{HOST}:{port}",
                "CSMS_REDIS__PASSWORD_FILE": "secret",
            }
            with Service(elsewhere, settings) as service:
                service.ready()
                written = service.request("POST", "/api/v0/cs/cs001", {"securityProfile": 2})
                assert written.status == 201
                found = service.request("GET", "/api/v0/cs/cs001/auth")
                assert found.json == {"securityProfile": 2}
                assert PASSWORD not in service.log_text

    def test_a_wrong_password_is_told(self, elsewhere: Path) -> None:
        """The service starts, is not ready, and shows neither password."""
        (elsewhere / "secret").write_text("the-wrong-one", "utf-8")
        with valkey(elsewhere / "v", "--requirepass", PASSWORD) as port:
            settings = {
                "CSMS_REDIS__URL": f"redis://{HOST}:{port}",
                "CSMS_REDIS__PASSWORD_FILE": "secret",
            }
            with Service(elsewhere, settings) as service:
                time.sleep(1)
                assert service.request("GET", "/health/ready").status == 503
                written = service.request("POST", "/api/v0/cs/cs001", {"securityProfile": 2})
                assert written.status == 503
                for secret in (PASSWORD, "the-wrong-one"):
                    assert secret not in service.log_text
                    assert secret not in str(written)

    def test_a_redis_that_is_away_does_not_end_the_start(self, elsewhere: Path) -> None:
        """It starts, says so in one line, is not ready, and becomes so when Redis is there."""
        port = free_port()
        settings = {"CSMS_REDIS__URL": f"redis://{HOST}:{port}", "CSMS_LOOKUP__TIMEOUT": "0.5"}
        with Service(elsewhere, settings) as service:
            until(lambda: bool(about_redis(service)), "it says that Redis is away")
            time.sleep(2)
            (said,) = about_redis(service)
            assert said["level"] in {"warning", "error"}
            assert f"{HOST}:{port}" in str(said)
            reply = service.request("GET", "/health/ready")
            assert reply.status == 503
            assert reply.json["error"].startswith("redis: ")
            assert service.request("GET", "/health/live").status == 200
            assert service.request("GET", "/api/v0/cs/cs001/auth").status == 503
            away = service.request("POST", "/api/v0/cs/cs001", {"securityProfile": 2})
            assert away.status == 503
            assert "Nothing was changed" in away.json["error"]

            with valkey(elsewhere / "v", port=port):
                service.ready()
                written = service.request("POST", "/api/v0/cs/cs001", {"securityProfile": 2})
                assert written.status == 201
                assert len(about_redis(service)) == 2


def about_redis(service: Service) -> list[dict[str, Any]]:
    """What was logged of Redis itself."""
    return [line for line in service.log if line["event"].startswith("Redis ")]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CSMS_REDIS_URL", "CSMS_REDIS__URL"),
        ("csms_redis_url", "CSMS_REDIS__URL"),
        ("CSMS_SERVER_HOST", "CSMS_SERVER__HOST"),
        ("CSMS_SERVER_PORT", "CSMS_SERVER__PORT"),
        ("CSMS_AUTH_CLIENTS", "CSMS_AUTH__CLIENTS"),
        ("CSMS_REDIS_KEY_PREFIX", "CSMS_REDIS__KEY_PREFIX"),
        ("CSMS_LOOKUP_STALE_IF_ERROR", "CSMS_LOOKUP__STALE_IF_ERROR"),
        ("CSMS__REDIS__URL", "CSMS_REDIS__URL"),
        ("CSMS_CONFIGS", "CSMS_CONFIG"),
        ("CSMS_SERVER__URL", "CSMS_SERVER_URL"),
        ("CSMS_SERVER_URLS", "CSMS_SERVER_URL"),
        ("CSMS_SERVER_SECRETS_FILE", "CSMS_SERVER_SECRET_FILE"),
    ],
)
def test_a_variable_that_is_nearly_known(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    """It would have no effect, and nobody would see why."""
    monkeypatch.setenv(name, "secret")
    with pytest.raises(BadSettings) as raised:
        load()
    assert str(raised.value) == f"{name}: is not known; is {meant} meant?"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CSMS_REDIS_SERVICE_HOST", "10.0.0.1"),
        ("CSMS_REDIS_SERVICE_PORT", "9410"),
        ("CSMS_REDIS_SERVICE_PORT_HTTP", "9410"),
        ("CSMS_REDIS_PORT", "tcp://10.0.0.1:9410"),
        ("CSMS_REDIS_PORT_9410_TCP_ADDR", "10.0.0.1"),
        ("CSMS_SERVER_PORT", "tcp://10.0.0.1:9410"),
        ("CSMS_SERVER_PORT_9410_TCP", "tcp://10.0.0.1:9410"),
        ("CSMS_SERVER_URL", "http://127.0.0.1:9410"),
        ("CSMS_SERVER_SECRET", "secret"),
        ("CSMS_NAMESPACE", "x"),
        ("CSMS_ENVIRONMENT", "x"),
    ],
)
def test_others_variables_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Those that Kubernetes sets for a Service, and those of commands."""
    monkeypatch.setenv(name, value)
    load()
