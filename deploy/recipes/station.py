"""A station of OCPP 1.6 to try a CSMS with: it connects, boots, and presents cards.

Its arguments are the URL of the CSMS with its own id, its user name, and the cards. The password
comes from standard input.
"""

import asyncio
import sys
from base64 import b64encode

from ocpp.v16 import ChargePoint, call
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus


async def main(url: str, user: str, *cards: str) -> None:
    """Connect with the password of standard input, whose bytes may be any; none sends no Basic."""
    password = sys.stdin.buffer.read()
    basic = "Basic " + b64encode(user.encode() + b":" + password).decode()
    headers = {"Authorization": basic} if password else {}
    try:
        async with connect(url, subprotocols=["ocpp1.6"], additional_headers=headers) as connection:
            station = ChargePoint(user, connection)
            reading = asyncio.create_task(station.start())
            boot = call.BootNotification(charge_point_model="x", charge_point_vendor="x")
            print(f"BootNotification: {(await station.call(boot)).status}")
            for card in cards:
                answer = await station.call(call.Authorize(id_tag=card))
                print(f"Authorize {card}: {answer.id_tag_info['status']}")
            reading.cancel()
    except InvalidStatus as refused:
        print(f"refused: {refused.response.status_code}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
