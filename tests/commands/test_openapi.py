"""`csms-redis openapi`, and commands whose reader goes away."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DATA
from tests.support.service import PROGRAM, Service, environment, run

CERTIFICATE = DATA / "certificates" / "root-V2G-cert.pem"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with its embedded store."""
    with Service(tmp_path_factory.mktemp("cli")) as running:
        yield running.ready()


class TestOpenapi:
    """`openapi` prints the document."""

    def test_is_what_is_served(self, service: Service, tmp_path: Path) -> None:
        """The same JSON as at /api/openapi.json."""
        result = run("openapi", cwd=tmp_path)
        document = json.loads(result.stdout)
        assert document == service.request("GET", "/api/openapi.json").json
        assert document["openapi"] == "3.1.0"
        assert (result.returncode, result.stderr) == (0, b"")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["openapi"],
            ["--help"],
            ["check"],
            ["hash-certificate", str(CERTIFICATE)],
        ],
    )
    def test_a_reader_that_went_away(self, arguments: list[str], tmp_path: Path) -> None:
        """As in `| head -1`: silence on standard error."""
        reader, writer = os.pipe()
        os.close(reader)
        try:
            result = subprocess.run(
                [PROGRAM, *arguments],
                cwd=tmp_path,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=subprocess.PIPE,
                timeout=30,
                check=False,
            )
        finally:
            os.close(writer)
        assert result.stderr == b""
