"""A gateway in a process of its own: looks stations up at a steady pace, notes how long each took.

Arguments: host, port, how many stations there are. It ends with its standard input, and prints the
99th percentile in milliseconds.
"""

import select
import statistics
import sys
import time
from http.client import HTTPConnection
from itertools import count

PACE = 0.002  # seconds between two lookups


def main(host: str, port: str, stations: str) -> None:
    connection = HTTPConnection(host, int(port), timeout=10)
    times = []
    for number in count(step=7919):
        if select.select([sys.stdin], [], [], PACE)[0]:
            break
        began = time.perf_counter()
        connection.request("GET", f"/api/v0/cs/fleet-{number % int(stations):07}/auth")
        response = connection.getresponse()
        assert response.status == 200
        response.read()
        times.append(1000 * (time.perf_counter() - began))
    connection.close()
    print(statistics.quantiles(times, n=100)[-1])  # noqa: T201 what it is for


if __name__ == "__main__":
    main(*sys.argv[1:])
