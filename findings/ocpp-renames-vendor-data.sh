#!/usr/bin/env bash
# An OCPP library renames the keys of vendors' own data, and does not name them back.
#
# Software:  ocpp 2.1.0, from PyPI
# Expected:  the library turns OCPP's camelCase names to snake_case for Python and back. What stands in
#            DataTransfer's data and in customData is the vendor's own and goes through as it is; at the
#            least an answer that returns it has the same keys.
# Seen:      these keys are renamed too, and an echo has others: Serial_No comes back as serialNo, meterID
#            as meterId, ratedKW as ratedKw. Keys with a null go. Two keys that differ only in the case of
#            such letters become one, and a value is lost.
# Date:      2026-11-28
# Users:     a CSMS on this library that relays vendor messages or keeps them beside a station's record
#            must take them from the raw message.
set -euo pipefail

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
trap 'exit 1' INT TERM

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install -qqq --disable-pip-version-check \
  ocpp==2.1.0

cat > "$home/show.py" << 'PYTHON'
import asyncio
import json
import logging

from ocpp.routing import on
from ocpp.v201 import ChargePoint, call_result

logging.disable(logging.CRITICAL)
DATA = {"meterID": "A1", "Serial_No": "B2", "ratedKW": 22, "door": None, "portId": 1, "portID": 2}

class Wire:
    async def send(self, message):
        answer = json.loads(message)[2]
        print("sent back data:      ", json.dumps(answer["data"]))
        print("sent back customData:", json.dumps(answer["customData"]))

class Station(ChargePoint):
    @on("DataTransfer")
    async def echo(self, vendor_id, data, custom_data):
        print("handler's data:      ", json.dumps(data))
        return call_result.DataTransfer(status="Accepted", data=data, custom_data=custom_data)

request = {"vendorId": "com.example", "data": DATA, "customData": {"vendorId": "com.example", "gridCode_EU": "b"}}
print("received data:       ", json.dumps(DATA))
print("received customData: ", json.dumps(request["customData"]))
asyncio.run(Station("CS-0417", Wire()).route_message(json.dumps([2, "1", "DataTransfer", request])))
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
received data:        {"meterID": "A1", "Serial_No": "B2", "ratedKW": 22, "door": null, "portId": 1, "portID": 2}
received customData:  {"vendorId": "com.example", "gridCode_EU": "b"}
handler's data:       {"meter_id": "A1", "serial__no": "B2", "rated_kw": 22, "door": null, "port_id": 2}
sent back data:       {"meterId": "A1", "serialNo": "B2", "ratedKw": 22, "portId": 2}
sent back customData: {"vendorId": "com.example", "gridCodeEu": "b"}
EXPECTED
