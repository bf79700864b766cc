"""The Valkeys and sentinels of the overlay `production-valkey`, run by its own files.

Each "pod" is a process that the overlay's start script starts, with the overlay's configuration and
users. What is replaced in these files: paths by directories of the pod's own, names by loopback
addresses, the two ports by free ones. For servers without TLS the lines about it are left out.
"""

import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import hiredis

from tests.conftest import short_directory
from tests.deploy.kustomize import Manifests
from tests.support.service import until
from tests.support.topologies.authority import Authority
from tests.support.topologies.node import _LAUNCH, _LAUNCHER, Address, Word, free_port
from tests.support.topologies.software import Software

MASTER = "mymaster"
SECRETS = {
    "redis-password": r'a"b\c d/e&f|g',  # what has a meaning in configuration files, sh and sed
    "sentinel-password": "s3ntinel\n",  # as most tools write a file
    "replica-password": r'r"e\p l#i&c/a',
    "sentinel-user-password": r'p"e\e r$s',
}
ADMIN = "user admin reset on >admin allkeys allchannels +@all\n"
NEWER = (" +hpttl", "tls-auto-reload-interval 60\n")  # what Redis 7.0 has not


class Pod:
    """A pod of one of the two StatefulSets: a start script and a volume.

    Attributes:
        name: as Kubernetes names it.
        address: where it listens.
    """

    def __init__(
        self, name: str, home: Path, address: Address, context: ssl.SSLContext | None
    ) -> None:
        self.name = name
        self.address = address
        self._home = home
        self._context = context
        self._process: subprocess.Popen[bytes] | None = None
        for directory in ("etc", "run", "data"):
            (home / directory).mkdir(parents=True)

    def __repr__(self) -> str:
        return f"<Pod {self.name} {self.address}>"

    def write(self, file: str, text: str) -> None:
        """Mount one file of the ConfigMap."""
        (self._home / "etc" / file).write_text(text, "utf-8")

    def start(self, programs: Path) -> None:
        """Start the container anew: its script decides what it is to be."""
        [script] = (self._home / "etc").glob("start-*.sh")
        environment = {"POD_NAME": self.name, "PATH": f"{programs}:{os.environ['PATH']}"}
        launch = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())]
        with (self._home / "log").open("ab") as log:
            self._process = _LAUNCHER.submit(
                subprocess.Popen,
                [*launch, "/bin/sh", str(script)],
                cwd=self._home,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).result()

    @property
    def ended(self) -> bool:
        """Whether its process has ended by itself, or was killed."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """SIGTERM it, as the kubelet does, and wait for its end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def lose_volume(self) -> None:
        """Begin with an empty volume."""
        shutil.rmtree(self._home / "data")
        (self._home / "data").mkdir()

    @property
    def log(self) -> str:
        """What its container wrote."""
        return (self._home / "log").read_text("utf-8", "replace")

    def call(self, *words: Word) -> Any:
        """Send one command as an administrator.

        Raises:
            hiredis.ReplyError: the reply is an error.
            OSError: there is none in two seconds.
        """
        reader = hiredis.Reader(encoding="utf-8", errors="replace")
        commands: list[tuple[Any, ...]] = [("AUTH", "admin", "admin"), words]
        with ExitStack() as opened:
            connection: socket.socket = opened.enter_context(
                socket.create_connection(self.address, timeout=2)
            )
            if self._context is not None:
                connection = opened.enter_context(
                    self._context.wrap_socket(connection, server_hostname=self.address.host)
                )
            connection.sendall(b"".join(hiredis.pack_command(each) for each in commands))
            replies: list[Any] = []
            while len(replies) < len(commands):
                while (reply := reader.gets()) is False:
                    received = connection.recv(65536)
                    if not received:
                        raise ConnectionResetError(f"{self.name} closed the connection")
                    reader.feed(received)
                replies.append(reply)
        if isinstance(replies[1], hiredis.ReplyError):
            raise replies[1]
        return replies[1]

    @property
    def role(self) -> str:
        """`master`, `slave` or `sentinel`; empty while it does not answer."""
        with suppress(OSError, hiredis.ReplyError):
            return str(self.call("ROLE")[0])
        return ""

    @property
    def follows(self) -> bool:
        """Whether it is a replica that has all of its master's records."""
        with suppress(OSError, hiredis.ReplyError):
            reply = self.call("ROLE")
            return bool(reply[0] == "slave" and reply[3] == "connected")
        return False


class ValkeySet:
    """Three Valkeys and three sentinels, started together."""

    def __init__(
        self, manifests: Manifests, software: Software, client: Path, *, tls: bool
    ) -> None:
        """Prepare.

        Args:
            manifests: of the overlay.
            software: the server to run.
            client: the `redis-cli` to run.
            tls: whether both can TLS.
        """
        self._manifests = manifests
        self._tls = tls
        self._programs = {"valkey-server": software.command, "valkey-cli": str(client)}
        self._newer = software.version >= (9,)
        self._net = f"127.{random.randrange(10, 250)}.{random.randrange(1, 250)}"
        self._ports = {"valkey": free_port(), "sentinel": free_port()}
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as running:
            home = running.enter_context(short_directory())
            self._bin = home / "bin"
            self._bin.mkdir()
            for name, program in self._programs.items():
                (self._bin / name).symlink_to(program)
            pods = self.prepare(home)
            self.valkeys, self.sentinels = pods[:3], pods[3:]
            for pod in pods:
                running.callback(pod.kill)
                self.start(pod)
            self._running = running.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def everyone(self) -> list[Pod]:
        """All six."""
        return [*self.valkeys, *self.sentinels]

    def start(self, pod: Pod) -> None:
        """Start one of them, as the kubelet does."""
        pod.start(self._bin)

    def prepare(self, home: Path) -> list[Pod]:
        """Write all files, with nothing started: Valkeys first, then sentinels."""
        self._home = home
        for name, secret in SECRETS.items():
            (home / name).write_text(secret, "utf-8")
        context = self._certificates() if self._tls else None
        kinds = ("valkey", "sentinel")
        return [self._pod(kind, number, context) for kind in kinds for number in range(3)]

    def _host(self, name: str) -> str:
        """What stands for a name: `valkey-1` is the address that ends with 11."""
        kind, _, number = name.partition("-")
        return f"{self._net}.{'1' if kind == 'valkey' else '2'}{number}"

    def _certificates(self) -> ssl.SSLContext:
        authority = Authority(self._home / "tls")
        self.ca = authority.ca
        names = [f"{kind}-{number}" for kind in ("valkey", "sentinel") for number in range(3)]
        pair = authority.issue("server", *(self._host(name) for name in names))
        for file, path in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
            (self._home / "tls" / file).symlink_to(path)
        (self._home / "tls/ca.crt").symlink_to(authority.ca)
        return ssl.create_default_context(cafile=authority.ca)

    def _pod(self, kind: str, number: int, context: ssl.SSLContext | None) -> Pod:
        name = f"{kind}-{number}"
        home = self._home / name
        address = Address(self._host(name), self._ports[kind])
        pod = Pod(name, home, address, context)
        for file, text in self._manifests.get("ConfigMap", kind)["data"].items():
            pod.write(file, self._placed(text, home, address))
            if file.endswith("-users.acl"):
                pod.write(file, self._placed(text, home, address) + ADMIN)
        return pod

    def _placed(self, text: str, home: Path, address: Address) -> str:
        """One of the overlay's files, as this pod has it here."""
        paths = {
            "/etc/valkey": f"{home}/etc",
            "/run/secrets/valkey": f"{self._home}",
            "/run/valkey": f"{home}/run",
            "/run/tls": f"{self._home}/tls",
            "/data": f"{home}/data",
        }
        for path, placed in paths.items():
            text = re.sub(rf"(?<![\w.-]){path}(?![\w-])", placed, text)
        text = re.sub(r"\bvalkey-(\d|\$number)\.valkey\b", rf"{self._net}.1\1", text)
        text = re.sub(r"\bsentinel-(\d|\$number)\.sentinel\b", rf"{self._net}.2\1", text)
        text = re.sub(r"\$POD_NAME\.\w+", address.host, text)
        text = text.replace("26379", f"{self._ports['sentinel']}")
        text = text.replace("6379", f"{self._ports['valkey']}")
        text = text.replace("bind * -::*", f"bind {address.host}")
        if not self._newer:
            for part in NEWER:
                text = text.replace(part, "")
        if not self._tls:
            text = text.replace("port 0\n", f"port {address.port}\n")
            text = re.sub(r"(?m)^tls-.*\n", "", text)
            text = re.sub(r"--tls \\\n\s*--cacert \S+ ", "", text)
        return text

    @property
    def settings(self) -> dict[str, str]:
        """What the overlay tells the service of Redis, as `running_service` takes it."""
        told = self._manifests.get("ConfigMap", "csms-redis-environment")["data"]
        settings = {
            name.removeprefix("CSMS_").lower(): value.replace(
                "/run/secrets/csms-redis", f"{self._home}"
            )
            for name, value in told.items()
            if name.startswith("CSMS_REDIS__")
        }
        sentinels = ",".join(f"{pod.address}" for pod in self.sentinels)
        url = settings["redis__url"].replace("sentinel:26379", sentinels)
        if self._tls:
            settings["redis__tls_ca_file"] = str(self.ca)
        else:
            url = url.replace("rediss", "redis")
            del settings["redis__tls_ca_file"]
        return settings | {"redis__url": url}

    def agreed(self) -> str:
        """The master's host, as two sentinels have it."""
        said: Counter[str] = Counter()
        for sentinel in self.sentinels:
            with suppress(OSError, hiredis.ReplyError):
                said[sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[0]] += 1
        return next((host for host, votes in said.items() if votes >= 2), "")

    def master(self) -> Pod | None:
        """The one that two sentinels call the master, if it is."""
        host = self.agreed()
        found = next((pod for pod in self.valkeys if pod.address.host == host), None)
        return found if found is not None and found.role == "master" else None

    def settled(self) -> bool:
        """Whether there is a master, both others follow it, and all sentinels know all of it."""
        master = self.master()
        return (
            master is not None
            and all(pod.follows for pod in self.valkeys if pod is not master)
            and all(self._knows_all(sentinel) for sentinel in self.sentinels)
        )

    @staticmethod
    def _knows_all(sentinel: Pod) -> bool:
        with suppress(OSError, hiredis.ReplyError):
            flat: Sequence[str] = sentinel.call("SENTINEL", "MASTER", MASTER)
            known = dict(zip(flat[::2], flat[1::2], strict=True))
            others, replicas = known["num-other-sentinels"], known["num-slaves"]
            return (known["flags"], others, replicas) == ("master", "2", "2")
        return False

    def wait_until_settled(self) -> Pod:
        """Wait until it is whole, and give its master."""
        try:
            until(self.settled, "the set is whole", seconds=60)
        except AssertionError as error:
            for pod in self.everyone:
                error.add_note(f"{pod}: {pod.role or 'no answer'}\n{pod.log[-1500:]}")
            raise
        master = self.master()
        assert master is not None
        return master
