"""A service that is given its listening socket, as systemd gives it."""

import socket
import subprocess
import sys
from pathlib import Path

from tests.support.service import PROGRAM, Service

_LAUNCHER = """
import os, sys
given, at, pid = (int(word) for word in sys.argv[1:4])
os.dup2(given, at)
os.environ |= {"LISTEN_PID": str(pid or os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[4], sys.argv[4:])
"""


class Activated(Service):
    """A service that is started as systemd starts it, with a socket at descriptor 3."""

    def __init__(self, home: Path, listening: socket.socket, *, pid: int = 0) -> None:
        super().__init__(home, {"CSMS_TELEMETRY__LOG_FORMAT": "json"})
        self._listening = listening
        self._pid = pid

    def spawn(self, *, fresh: bool = True) -> None:
        """Start the process without waiting for anything; it always is fresh."""
        del fresh
        descriptor = self._listening.fileno()
        launcher = [sys.executable, "-c", _LAUNCHER, str(descriptor), "3", str(self._pid)]
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*launcher, PROGRAM, "serve", "--port", "0"],
                cwd=self.home,
                env=self._environment,
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
