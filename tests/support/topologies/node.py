"""One Valkey process on loopback: a server, a sentinel or a node of a cluster."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import hiredis

from tests.support.service import HOST, until
from tests.support.topologies.software import CHOSEN, Software

Word: TypeAlias = str | bytes | int

ANSWER = 5.0  # seconds in which a node that is neither stopped nor gone answers


def replicated(software: Software) -> list[str]:
    """What every server that keeps data is told."""
    lines = [
        "appendonly yes",
        'save ""',
        "repl-diskless-sync-delay 0",
        "repl-ping-replica-period 1",
    ]
    # before 7.0 everyone may use DEBUG
    return [*lines, "enable-debug-command local"] if software.version >= (7,) else lines


# PR_SET_PDEATHSIG with SIGKILL, which a stopped process takes too. No preexec_fn: proxies run in
# threads, and Python must not run between their fork and exec.
_LAUNCH = """\
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
# The signal comes when the starting *thread* ends, so it must be one that never does.
_LAUNCHER = ThreadPoolExecutor(1, "valkey-launcher")


class Address(NamedTuple):
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """As URLs have it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_OUTGOING = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()[0])
"""The lowest port that outgoing connections take."""


def _ports() -> Iterator[int]:
    """Ports below those that outgoing connections take, so that a node gets its own back."""
    first, count = 10000, max(_OUTGOING - 10000, 1000)
    start = random.randrange(count)
    while True:
        for offset in range(count):
            port = first + (start + offset) % count
            if _is_free(port):
                yield port


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False


_FREE = _ports()


def free_port(*, above: int = 0) -> int:
    """A port that nobody listens on and that this process was not given before.

    Args:
        above: how far above it another one is to be free as well; 0 for none.
    """
    ports = (
        port for port in _FREE if not above or (port + above < _OUTGOING and _is_free(port + above))
    )
    return next(ports)


def quoted(*words: str) -> str:
    """One line of a configuration file, whatever is in the words."""
    escaped = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    return " ".join(f'"{word}"' for word in escaped)


class Node:
    """A process with a configuration, a port and data of its own that outlive it.

    Attributes:
        name: for messages.
        home: the directory with `valkey.conf`, the data and `log`.
        own: where the process itself listens.
        address: where the others are told to find it: a proxy, if there is one before it.
    """

    def __init__(
        self,
        home: Path,
        *lines: str,
        mode: Literal["server", "sentinel"] = "server",
        host: str = HOST,
        port: int = 0,
        announced: Address | None = None,
        credentials: tuple[str, str] | None = None,
        software: Software = CHOSEN,
    ) -> None:
        """Write the configuration; `start` runs it.

        Args:
            home: a directory of its own, made if need be.
            lines: of the configuration.
            mode: what to be.
            host: to listen on.
            port: to listen on; 0 for a free one.
            announced: what `address` is to be.
            credentials: the user and the password with which `call` speaks to it.
            software: to be run.
        """
        self.name = home.name
        self.home = home
        self.own = Address(host, port or free_port())
        self.address = announced or self.own
        self.credentials = credentials
        self._program = software.command
        self._mode = mode
        self._process: subprocess.Popen[bytes] | None = None
        self._log = home / "log"
        home.mkdir(parents=True, exist_ok=True)
        first = (f"bind {host}", f"port {self.own.port}", quoted("dir", str(home)))
        (home / "valkey.conf").write_text("\n".join((*first, *lines, "")), "utf-8")

    def __repr__(self) -> str:
        """The name and where it listens."""
        return f"<Node {self.name} {self.address}>"

    def spawn(self) -> None:
        """Start the process without waiting until it answers."""
        assert not self.alive, f"{self.name} runs already"
        words = [self._program, str(self.home / "valkey.conf")]
        if self._mode == "sentinel":
            words.append("--sentinel")
        command = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *words]
        with self._log.open("ab") as log:
            self._process = _LAUNCHER.submit(
                subprocess.Popen,
                command,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C ends the tests, which end it
            ).result()

    def start(self) -> None:
        """Start the process and wait until it answers and has loaded its data."""
        self.spawn()
        self.wait_until_up()

    def wait_until_up(self) -> None:
        """Wait until it answers and has loaded its data."""
        until(lambda: not self.alive or self.answers(), f"{self.name} answers")
        assert self.alive, f"{self.name} does not start; it said:\n{self.log[-3000:]}"

    @property
    def alive(self) -> bool:
        """Whether there is a process, be it a stopped one."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the last process."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """All that its processes logged."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    def kill(self) -> None:
        """SIGKILL it, stopped or not; nothing happens when there is no process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self) -> None:
        """SIGTERM it and wait for its end; a master waits for its replicas before."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def freeze(self) -> None:
        """SIGSTOP it: the kernel still accepts connections, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT it: it comes back as if no time had passed."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self, *, kill: bool = False) -> None:
        """End it in an orderly way, or with SIGKILL, and start it with the same data and port."""
        if kill:
            self.kill()
        else:
            self.terminate()
        self.start()

    def call(self, *words: Word, timeout: float = ANSWER) -> Any:
        """Send one command past any proxy, on a connection of its own, and give the reply (RESP2).

        Raises:
            hiredis.ReplyError: it is an error.
            OSError: there is none in time.
        """
        return self.calls(words, timeout=timeout)[0]

    def calls(self, *commands: Iterable[Word], timeout: float = ANSWER) -> list[Any]:
        """Send several commands on one connection, as `call` does."""
        reader = hiredis.Reader(encoding="utf-8", errors="surrogateescape")
        login = [("AUTH", *self.credentials)] if self.credentials else []
        sent: list[tuple[Any, ...]] = [tuple(command) for command in (*login, *commands)]
        replies: list[Any] = []
        with socket.create_connection(self.own, timeout=timeout) as connection:
            connection.sendall(b"".join(hiredis.pack_command(command) for command in sent))
            while len(replies) < len(sent):
                while (reply := reader.gets()) is False:
                    received = connection.recv(65536)
                    if not received:
                        raise ConnectionResetError(f"{self.name} closed the connection")
                    reader.feed(received)
                if isinstance(reply, hiredis.ReplyError):
                    raise reply
                replies.append(reply)
        return replies[len(login) :]

    def answers(self) -> bool:
        """Whether it answers now, its data loaded."""
        try:
            return bool(self.call("PING", timeout=0.5) == "PONG")
        except (OSError, hiredis.ReplyError):
            return False

    def info(self, section: str) -> dict[str, str]:
        """One section of `INFO`.

        Raises:
            OSError: it does not answer.
        """
        lines = self.call("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def role(self) -> str:
        """`master`, `slave` or `sentinel`; empty when it does not answer in half a second."""
        try:
            return str(self.call("ROLE", timeout=0.5)[0])
        except (OSError, hiredis.ReplyError):
            return ""

    @property
    def link_up(self) -> bool:
        """Whether it is a replica in touch with its master, with all data of the first sync."""
        try:
            reply = self.call("ROLE", timeout=0.5)
        except (OSError, hiredis.ReplyError):
            return False
        return bool(reply[0] == "slave" and reply[3] == "connected")
