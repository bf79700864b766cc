#!/usr/bin/env bash
# A library turns the identifiers of OCPI tokens to lower case, also in what it sends.
#
# Software:  extrawest-ocpi 2025.7.16 (module py_ocpi), with pydantic 1.10.12, from PyPI
# Expected:  OCPI's CiString is compared without regard to case; a library keeps the text as it came and
#            compares in that way. country_code is an ISO 3166 code, in capitals.
# Seen:      the object keeps and sends only lower case: the country is "nl", the card 04a2b3c4d5e6f7 and
#            the contract nl-tst-c00417023-x. last_updated loses its fraction of a second.
# Date:      2026-11-28
# Users:     tokens that came through it are not found in a registry, or by stations, that take ids as they
#            were written; import from the eMSP's own file, or bring the case into one form on both sides.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  extrawest-ocpi==2025.7.16 pydantic==1.10.12

cat > "$home/show.py" << 'PYTHON'
import json
import warnings

warnings.simplefilter("ignore")
from py_ocpi.modules.tokens.v_2_2_1.schemas import Token

token = Token(
    country_code="NL", party_id="TST", uid="04A2B3C4D5E6F7", type="RFID", contract_id="NL-TST-C00417023-X",
    issuer="Test Mobility", valid=True, whitelist="ALLOWED", last_updated="2026-11-28T10:00:00.750Z",
)
sent = json.loads(token.json())
for name in ("country_code", "party_id", "uid", "contract_id", "issuer", "last_updated"):
    print(f"{name}: {sent[name]}")
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
country_code: nl
party_id: tst
uid: 04a2b3c4d5e6f7
contract_id: nl-tst-c00417023-x
issuer: Test Mobility
last_updated: 2026-11-28T10:00:00Z
EXPECTED
