#!/usr/bin/env bash
# The link to the next page of tokens that a library writes leads nowhere.
#
# Software:  extrawest-ocpi 2025.7.16 (module py_ocpi), with pydantic 1.10.12 and what it installs beside
#            them, on Python 3.11, from PyPI
# Expected:  an eMSP gives its tokens in pages; who follows the Link header, rel="next", until a page has
#            none (OCPI 2.2.1, 4.1.3), has all of X-Total-Count.
# Seen:      the first page of .../ocpi/emsp/2.2.1/tokens/ links to .../ocpi/cpo/VersionNumber.v_2_2_1/
#            ModuleID.tokens/, which is a 404. With the right role, version and module it still has
#            date_from=None, which is no date: 422. Only offset and limit counted by hand give all tokens.
# Date:      2026-11-29
# Users:     a load of tokens that follows the links of such an eMSP fails after the first page, or has
#            fifty tokens of all: count offset and limit up to X-Total-Count, and compare the number.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  extrawest-ocpi==2025.7.16 pydantic==1.10.12

cat > "$home/show.py" << 'PYTHON'
import base64
import logging
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
from fastapi.testclient import TestClient
from py_ocpi.core.enums import ModuleID, RoleEnum
from py_ocpi.main import get_application
from py_ocpi.modules.versions.enums import VersionNumber

TOKENS = [
    {
        "country_code": "NL", "party_id": "TST", "uid": f"04A2B3C4D5E6{number:02X}", "type": "RFID",
        "contract_id": f"NL-TST-C{number:08}-X", "issuer": "Test Mobility", "valid": True,
        "whitelist": "ALLOWED", "last_updated": "2026-11-28T10:00:00Z",
    }
    for number in range(120)
]

class Store:
    @classmethod
    async def list(cls, module, role, filters, *more, **named):
        first, end = filters["offset"], filters["offset"] + filters["limit"]
        return TOKENS[first:end], len(TOKENS), end >= len(TOKENS)

class Everybody:
    @classmethod
    async def authenticate(cls, token):
        pass

application = get_application([VersionNumber.v_2_2_1], [RoleEnum.emsp], Store, [ModuleID.tokens], Everybody)
emsp = TestClient(application, headers={"Authorization": "Token " + base64.b64encode(b"secret").decode()})

def ask(path):
    answer = emsp.get(path)
    print(f"GET {path}: {answer.status_code}", end="")
    print(f", {len(answer.json()['data'])} tokens" if answer.status_code == 200 else "")
    return answer

first = ask("/ocpi/emsp/2.2.1/tokens/")
print("  X-Total-Count:", first.headers["x-total-count"])
link = first.headers["link"].split(">")[0].removeprefix("<https://www.example.com")
print("  Link:", link)
ask(link)
link = link.replace("/cpo/", "/emsp/").replace("VersionNumber.v_2_2_1", "2.2.1").replace("ModuleID.tokens", "tokens")
ask(link)
for offset in (50, 100):
    ask(f"/ocpi/emsp/2.2.1/tokens/?offset={offset}&limit=50")
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
GET /ocpi/emsp/2.2.1/tokens/: 200, 50 tokens
  X-Total-Count: 120
  Link: /ocpi/cpo/VersionNumber.v_2_2_1/ModuleID.tokens/?date_from=None&date_to=None&offset=50&limit=50
GET /ocpi/cpo/VersionNumber.v_2_2_1/ModuleID.tokens/?date_from=None&date_to=None&offset=50&limit=50: 404
GET /ocpi/emsp/2.2.1/tokens/?date_from=None&date_to=None&offset=50&limit=50: 422
GET /ocpi/emsp/2.2.1/tokens/?offset=50&limit=50: 200, 50 tokens
GET /ocpi/emsp/2.2.1/tokens/?offset=100&limit=50: 200, 20 tokens
EXPECTED
