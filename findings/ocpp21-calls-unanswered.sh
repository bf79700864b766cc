#!/usr/bin/env bash
# A library's OCPP 2.1 leaves a call without a handler unanswered, which its 1.6 and 2.0.1 refuse.
#
# Software:  ocpp 2.1.0, from PyPI
# Expected:  a call gets an answer: where nobody has registered a handler, a CALLERROR NotImplemented, and
#            NotSupported for an action that the version does not have. So ocpp.v16 and ocpp.v201 do.
# Seen:      ocpp.v21 sends nothing and logs nothing, for a Heartbeat as for an unknown action. The station
#            may send no other call until it gives this one up, which takes its whole message time-out.
# Date:      2026-11-29
# Users:     a gateway with handlers for what it asks the registry (Authorize, BootNotification) needs one
#            for each other action that 2.1 stations send, or they are as good as away after the first.
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

from ocpp import v16, v21, v201
from ocpp.routing import on

class Wire:
    """What goes to the station."""

    def __init__(self):
        self.sent = []

    async def send(self, message):
        self.sent.append(json.loads(message))

class Log(logging.Handler):
    def emit(self, record):
        self.records.append(record)

    def __init__(self):
        super().__init__()
        self.records = []

log = Log()
logging.getLogger("ocpp").addHandler(log)
logging.getLogger("ocpp").propagate = False

def gateway(module, wire):
    class Gateway(module.ChargePoint):
        @on("BootNotification")
        async def boot(self, **named):
            return module.call_result.BootNotification(
                current_time="2026-11-29T10:00:00Z", interval=300, status="Accepted"
            )

    return Gateway("CS-0417", wire)

STATION = {"model": "M1", "vendorName": "Example"}
for name, module, boot in (
    ("1.6", v16, {"chargePointModel": "M1", "chargePointVendor": "Example"}),
    ("2.0.1", v201, {"reason": "PowerUp", "chargingStation": STATION}),
    ("2.1", v21, {"reason": "PowerUp", "chargingStation": STATION}),
):
    print("OCPP", name)
    for action, payload in (("BootNotification", boot), ("Heartbeat", {}), ("Greeting", {})):
        wire = Wire()
        log.records.clear()
        asyncio.run(gateway(module, wire).route_message(json.dumps([2, "1", action, payload])))
        answer = wire.sent[0] if wire.sent else None
        shown = "nothing" if answer is None else "CALLRESULT" if answer[0] == 3 else f"CALLERROR {answer[2]}"
        print(f"  {action}: {shown}; log lines: {len([one for one in log.records if one.levelno > logging.INFO])}")
PYTHON

seen=$(timeout 100 "$home/venv/bin/python" "$home/show.py" "$home")
printf '%s\n' "$seen"
diff - <(printf '%s\n' "$seen") << 'EXPECTED' || { echo "${0##*/}: this has changed" >&2; exit 1; }
OCPP 1.6
  BootNotification: CALLRESULT; log lines: 0
  Heartbeat: CALLERROR NotImplemented; log lines: 1
  Greeting: CALLERROR NotSupported; log lines: 1
OCPP 2.0.1
  BootNotification: CALLRESULT; log lines: 0
  Heartbeat: CALLERROR NotImplemented; log lines: 1
  Greeting: CALLERROR NotSupported; log lines: 1
OCPP 2.1
  BootNotification: CALLRESULT; log lines: 0
  Heartbeat: nothing; log lines: 0
  Greeting: nothing; log lines: 0
EXPECTED
