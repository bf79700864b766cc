"""A process that has imported the program, and gives a process of its own to each call of it.

To import the program takes a second of a processor; to fork takes some milliseconds. What the tests
call is so the whole program in a process of its own, with its own arguments, environment, directory
and files: all that it does after its imports. Whoever tests what comes before starts it afresh.

Run as a script, it takes calls from a socket (its file descriptor is its argument): each is a JSON
object with `arguments`, `environment` and `cwd`, and comes with four descriptors: standard input,
output and error of the call, and a pipe. The pipe is told the process's id, and in the end how it
ended, as `os.waitpid` tells it.
"""

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from pathlib import Path

if __name__ == "__main__":  # as the console script has it, not the folder of this one
    sys.path[0] = str(Path(sys.executable).parent)

LARGEST = 1 << 20  # bytes of a call


def main(calls: socket.socket) -> None:
    """Take calls until there are no more; return in each process that is to run one."""
    pipes: dict[int, tuple[int, int]] = {}  # of each pidfd: the process's id, and its pipe
    with selectors.DefaultSelector() as selector:
        selector.register(calls, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd in pipes:
                    selector.unregister(key.fd)
                    _tell_the_end(key.fd, *pipes.pop(key.fd))
                    continue
                data, files, _, _ = socket.recv_fds(calls, LARGEST, 4)
                if not data:
                    os._exit(0)
                assert threading.active_count() == 1
                child = os.fork()
                if not child:
                    calls.detach()
                    _become(json.loads(data), files)
                    return
                *standard, pipe = files
                for descriptor in standard:
                    os.close(descriptor)
                os.write(pipe, b"%d\n" % child)
                pidfd = os.pidfd_open(child)
                pipes[pidfd] = child, pipe
                selector.register(pidfd, selectors.EVENT_READ)


def _tell_the_end(pidfd: int, child: int, pipe: int) -> None:
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it
        os.write(pipe, b"%d\n" % status)
    os.close(pidfd)
    os.close(pipe)


def _become(call: dict[str, object], files: list[int]) -> None:
    """Be the process of a call, as if it had been started for it."""
    arguments, environment, cwd = call["arguments"], call["environment"], call["cwd"]
    assert isinstance(arguments, list)
    assert isinstance(environment, dict)
    assert isinstance(cwd, str)
    for target, descriptor in enumerate(files[:3]):
        os.dup2(descriptor, target)
    os.closerange(3, 1 << 16)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored here
    sys.argv[:] = arguments


if __name__ == "__main__":
    cli = importlib.import_module("csms_redis.cli")
    importlib.import_module("uvloop")
    for command in cli._COMMANDS.values():
        importlib.import_module(f"csms_redis.commands.{command.partition(':')[0]}")
    gc.collect()
    gc.freeze()
    main(socket.socket(fileno=int(sys.argv[1])))
    cli.main()
