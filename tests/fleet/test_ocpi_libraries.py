"""Libraries of the field beside import and export: what they write is read, and the reverse.

Each is installed in an environment of its own, because they need other versions than this program.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Valkey, running_valkey
from tests.support.transfers import transfer

pytestmark = pytest.mark.slow

# Each program reads a list of tokens and writes what its library makes of it.
PROGRAMS = {
    "extrawest-ocpi==2025.7.16": """
import json, sys
from py_ocpi.modules.tokens.v_2_2_1.schemas import Token
tokens = [Token(**each) for each in json.load(sys.stdin)]
print("[" + ",".join(each.json() for each in tokens) + "]")
""",
    "extrawest-ocpi==2025.7.16 for 2.1.1": """
import json, sys
from py_ocpi.modules.tokens.v_2_1_1.schemas import Token
tokens = []
for each in json.load(sys.stdin):
    each["auth_id"] = each.pop("contract_id")
    each["type"] = "RFID" if each["type"] == "RFID" else "OTHER"
    tokens.append(Token(**each))
print("[" + ",".join(each.json() for each in tokens) + "]")
""",
    "ocpi-types==0.3.0": """
import json, sys
from ocpi_types.v2_2_1 import Token
print(json.dumps([Token.from_dict(each).to_dict() for each in json.load(sys.stdin)]))
""",
    "ocpi-types==0.3.0 for 2.3.0": """
import json, sys
from ocpi_types.v2_3_0 import Token
print(json.dumps([Token.from_dict(each).to_dict() for each in json.load(sys.stdin)], indent=2))
""",
    "latam-evra-ocpi==0.5.0": """
import json, sys
from latam_evra_ocpi.models.tokens import Token
tokens = [Token(**each) for each in json.load(sys.stdin)]
print("\\n".join(each.model_dump_json() for each in tokens))
""",
}
LOWERED = {"country_code", "party_id", "uid", "contract_id", "group_id"}
"""What extrawest writes in lower case; OCPI's CiStrings are equal in any case."""

TOKENS: list[dict[str, Any]] = [
    {
        "country_code": "DE",
        "party_id": "TNM",
        "uid": uid,
        "type": type_,
        "contract_id": contract_id,
        "issuer": "Größe €" if number % 2 else "TheNewMotion",
        "valid": number % 3 > 0,
        "whitelist": ("ALWAYS", "ALLOWED", "ALLOWED_OFFLINE", "NEVER")[number % 4],
        "last_updated": "2026-01-01T00:00:00Z",
        **({"group_id": "DF000-2001-8999", "language": "de"} if number % 2 else {}),
        **({"visual_number": "DF000-2001-8999-1"} if number % 3 else {}),
    }
    for number, (uid, type_, contract_id) in enumerate(
        [
            ("0485AB12", "RFID", "DE8ACC12E46L89"),
            ("0485AB12C3D4E5", "RFID", "DE-8AC-C12E46L89-1"),
            ("bdf21bce-fc97-11e8-8eb2-f2801f1b9fd1", "APP_USER", "FLEETCARD00017"),
            ("A-1", "OTHER", "VEHICLE00000042"),
            ("AdHoc", "AD_HOC_USER", "x"),
        ]
    )
]


@pytest.fixture(scope="module")
def pythons(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An interpreter for each library."""
    made = {}
    for name in {name.partition(" ")[0] for name in PROGRAMS}:
        home = tmp_path_factory.mktemp("library")
        subprocess.run([sys.executable, "-m", "venv", home], timeout=120, check=True)
        python = home / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", name], timeout=300, check=True)
        made[name] = python
    return made


@pytest.fixture
def elsewhere() -> Iterator[Valkey]:
    with running_valkey() as valkey:
        yield valkey


def rewritten(pythons: dict[str, Path], library: str, tokens: str) -> str:
    """What a library makes of a list of tokens."""
    done = subprocess.run(
        [pythons[library.partition(" ")[0]], "-c", PROGRAMS[library]],
        input=tokens,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_nulls(tokens: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in token.items() if value is not None}
        for token in json.loads(tokens)
    ]


@pytest.mark.parametrize("library", PROGRAMS)
def test_both_ways(
    pythons: dict[str, Path], valkey: Valkey, elsewhere: Valkey, tmp_path: Path, library: str
) -> None:
    """All they write is read; all we write is read by them, and comes back as it was."""
    (tmp_path / "theirs.json").write_text(rewritten(pythons, library, json.dumps(TOKENS)))
    options = ["--country-code", "DE", "--party-id", "TNM"] if "2.1.1" in library else []
    done = transfer(tmp_path, valkey.url, "import", "tokens", "theirs.json", *options)
    assert "read 5, written 5, existing 0, rejected 0" in done.stdout
    transfer(tmp_path, valkey.url, "export", "tokens", "ours.json", "--format", "ocpi")
    ours = {token["uid"].upper(): token for token in without_nulls(
        (tmp_path / "ours.json").read_text()
    )}  # fmt: skip
    old = "2.1.1" in library
    for token in TOKENS:
        found = ours[token["uid"].upper()]
        expected = dict(token)
        if old:  # which has no group, and two types
            expected.pop("group_id", None)
            expected["type"] = "RFID" if token["type"] == "RFID" else "OTHER"
        elif library.startswith("extrawest"):
            expected |= {name: token[name].lower() for name in LOWERED & token.keys()}
        assert found == expected

    (tmp_path / "again.json").write_text(
        rewritten(pythons, library, (tmp_path / "ours.json").read_text())
    )
    transfer(tmp_path, elsewhere.url, "import", "tokens", "again.json", *options)
    transfer(tmp_path, elsewhere.url, "export", "tokens", "last.json", "--format", "ocpi")
    last = without_nulls((tmp_path / "last.json").read_text())
    assert {token["uid"].upper(): token for token in last} == ours
