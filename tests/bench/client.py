"""A client of its own, for where each station is asked exactly once and its answer is checked.

wrk can neither send each request exactly once, nor tell whose answer came, nor close a connection
that the server keeps. On one core this client opens as many connections a second as wrk does: for
both, nearly all of the time is the kernel's.
"""

import multiprocessing
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import BinaryIO

from .processes import CannotRun

Check = Callable[[int, int, bytes], bool]
"""Whether a station's number, the status and the body belong together."""

_WALKING = 64
_TIMEOUT = 30
_STORM_TIMEOUT = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """Stations looked up once each, on new connections; `at_once` of them by each process.

    Attributes:
        keeps: The server is to keep each connection, and the client closes it, as Go's client does
            with those that are more than it pools.
    """

    port: int
    path: str
    first: int
    count: int
    at_once: int
    check: Check
    tls: bool = False
    keeps: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a storm; begin and end on the monotonic clock."""

    answered: int
    latencies_ms: list[float]
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """From the first connection to the last answer."""
        return self.end - self.begin


def walk(
    port: int, path: Callable[[int], str], *, numbers: range, check: Check, tls: bool = False
) -> None:
    """Look records up in turn, one at a time on each of 64 kept-alive connections.

    Raises:
        CannotRun: an answer is not the record's.
        OSError: the connection broke.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(_opened(port, tls=tls)) for _ in range(_WALKING)]
        for start in range(0, len(numbers), _WALKING):
            batch = numbers[start : start + _WALKING]
            for number, (connection, _) in zip(batch, opened, strict=False):
                connection.sendall(_request(path(number), "keep-alive"))
            for number, (_, answers) in zip(batch, opened, strict=False):
                status, body = _answer(answers)
                if not check(number, status, body):
                    raise CannotRun(f"{path(number)} answers {status} {body!r}")


def succeeds(port: int, path: str, *, tls: bool) -> bool:
    """Whether a GET is answered 200."""
    try:
        with _opened(port, tls=tls) as (connection, answers):
            connection.sendall(_request(path, "close"))
            return _answer(answers)[0] == 200
    except OSError:
        return False


def look_up_and_stay(port: int, path: str, *, check: Check, tls: bool, stack: ExitStack) -> None:
    """Look a record up on a new connection, which stays open until the stack closes.

    Raises:
        CannotRun: the answer is not the record's.
        OSError: the connection broke.
    """
    connection, answers = stack.enter_context(_opened(port, tls=tls))
    connection.sendall(_request(path, "keep-alive"))
    status, body = _answer(answers)
    if not check(0, status, body):
        raise CannotRun(f"{path} answers {status} {body!r}")


@contextmanager
def _opened(port: int, *, tls: bool = False) -> Iterator[tuple[socket.socket, BinaryIO]]:
    with ExitStack() as stack:
        connection = socket.create_connection(("127.0.0.1", port), _TIMEOUT)
        if tls:
            connection = _tls().wrap_socket(connection)
        stack.enter_context(connection)
        yield connection, stack.enter_context(connection.makefile("rb"))


@cache
def _tls() -> ssl.SSLContext:
    """As a client that takes any certificate and resumes no session, unlike wrk, which does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def storm(whole: Storm, *, processes: int) -> Outcome:
    """Share the stations among processes and look them up as fast as the server answers.

    Raises:
        CannotRun: not all of them were answered in time.
    """
    with multiprocessing.get_context("fork").Pool(processes, _leave_interrupts) as pool:
        shares = pool.map_async(_look_up, _shares(whole, processes))
        try:
            parts = shares.get(_STORM_TIMEOUT)
        except multiprocessing.TimeoutError:
            raise CannotRun(f"the storm was not over after {_STORM_TIMEOUT} s") from None
    return Outcome(
        answered=sum(part.answered for part in parts),
        latencies_ms=[latency for part in parts for latency in part.latencies_ms],
        begin=min(part.begin for part in parts),
        end=max(part.end for part in parts),
    )


def _leave_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _shares(whole: Storm, processes: int) -> list[Storm]:
    share, end = -(-whole.count // processes), whole.first + whole.count
    return [
        replace(whole, first=first, count=min(share, end - first))
        for first in range(whole.first, end, share)
    ]


def _look_up(part: Storm) -> Outcome:
    end = "keep-alive" if part.keeps else "close"
    requests = [_request(part.path % (part.first + n), end) for n in range(part.count)]
    latencies: list[float] = []
    answered = 0
    begin = time.monotonic()
    for start in range(0, part.count, part.at_once):
        asked = [_ask(part, request) for request in requests[start : start + part.at_once]]
        for number, (connection, since) in enumerate(asked, part.first + start):
            answered += _answered(connection, number, part.check)
            latencies.append((time.monotonic() - since) * 1000)
    return Outcome(answered=answered, latencies_ms=latencies, begin=begin, end=time.monotonic())


def _ask(part: Storm, request: bytes) -> tuple[socket.socket, float]:
    since = time.monotonic()
    connection = socket.socket()
    with suppress(OSError):
        connection.connect(("127.0.0.1", part.port))
        if part.tls:
            connection = _tls().wrap_socket(connection)
        connection.sendall(request)
    return connection, since


def _answered(connection: socket.socket, number: int, check: Check) -> bool:
    received = b""
    with connection, suppress(OSError, ValueError):
        while data := connection.recv(65536):
            received += data
            head, end, body = received.partition(b"\r\n\r\n")
            length = head.lower().partition(b"\r\ncontent-length: ")[2]
            if end and len(body) == int(length.split(b"\r\n")[0]):
                return check(number, int(head[9:12]), body)
    return False


def _request(path: str, connection: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: {connection}\r\n\r\n".encode()


def _answer(answers: BinaryIO) -> tuple[int, bytes]:
    if not (first := answers.readline()):
        raise ConnectionError("the connection was closed without an answer")
    status, length = int(first[9:12]), 0
    while line := answers.readline().rstrip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return status, answers.read(length)
