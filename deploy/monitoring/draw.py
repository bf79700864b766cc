"""Draw the panels of dashboard.json from a Prometheus, as one SVG.

    python deploy/monitoring/draw.py http://127.0.0.1:9090 --minutes 60 > dashboard.svg

For where there is no Grafana: it runs the same queries. Needs nothing but Python.
"""

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode
from urllib.request import urlopen

Series: TypeAlias = tuple[str, list[tuple[float, float]]]  # its name; times and values

DASHBOARD = Path(__file__).with_name("dashboard.json")
COLOURS = ["#3274d9", "#56a64b", "#e0b400", "#e02f44", "#8f3bb8", "#ff780a", "#37872d", "#1f60c4"]
COLUMN, ROW, GAP = 50, 30, 8  # pixels; Grafana's grid has 24 columns
POINTS = 240
RATE_INTERVAL = "30s"


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("prometheus", help="its URL")
    parser.add_argument("--minutes", type=float, default=60, help="how much of the past")
    parser.add_argument("--end", type=float, default=time.time(), help="seconds since 1970")
    asked = parser.parse_args()
    start = asked.end - asked.minutes * 60
    panels = json.loads(DASHBOARD.read_bytes())["panels"]
    height = max(at["y"] + at["h"] for at in (panel["gridPos"] for panel in panels)) * ROW
    sys.stdout.write(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {24 * COLUMN} {height}" '
        'font-family="sans-serif" font-size="11" fill="#24292e">\n'
        '<rect width="100%" height="100%" fill="#f4f5f5"/>\n'
    )
    for panel in panels:
        series = list(read(asked.prometheus, panel, start, asked.end))
        sys.stdout.writelines(f"{line}\n" for line in draw(panel, series, start, asked.end))
    sys.stdout.write("</svg>\n")


def read(prometheus: str, panel: dict[str, Any], start: float, end: float) -> Iterator[Series]:
    """Run a panel's queries."""
    for target in panel.get("targets", []):
        expr = target["expr"].replace("$__rate_interval", RATE_INTERVAL)
        question = {
            "query": expr.replace("$instance", ".*"),
            "start": start,
            "end": end,
            "step": (end - start) / POINTS,
        }
        with urlopen(f"{prometheus}/api/v1/query_range?{urlencode(question)}") as reply:  # noqa: S310 the operator's own
            results = json.load(reply)["data"]["result"]
        for result in results:
            labels = result["metric"]
            legend = target["legendFormat"]
            if legend == "__auto":
                legend = " ".join(labels.values())
            name = re.sub(r"{{(\w+)}}", lambda found, had=labels: had.get(found[1], ""), legend)  # type: ignore[misc]
            values = [(at, float(value)) for at, value in result["values"]]
            yield name, [(at, value) for at, value in values if math.isfinite(value)]


def draw(panel: dict[str, Any], series: list[Series], start: float, end: float) -> Iterator[str]:
    """A panel's lines of SVG."""
    at = panel["gridPos"]
    x, y = at["x"] * COLUMN + GAP / 2, at["y"] * ROW + GAP / 2
    width, height = at["w"] * COLUMN - GAP, at["h"] * ROW - GAP
    yield f'<g transform="translate({x:g} {y:g})">'
    title = escape(panel["title"])
    if panel["type"] == "row":
        yield f'<text x="2" y="15" font-size="13" font-weight="bold">{title}</text></g>'
        return
    yield f'<rect width="{width}" height="{height}" rx="3" fill="#fff" stroke="#d8d9da"/>'
    yield f'<text x="8" y="16" font-weight="bold">{title}</text>'
    unit = panel["fieldConfig"]["defaults"]["unit"]
    series = [one for one in series if one[1]]
    if not series:
        yield f'<text x="{width / 2:g}" y="{height / 2:g}" text-anchor="middle">No data</text>'
    elif panel["type"] == "stat":
        said = [f"{name} {shown(values[-1][1], unit)}".strip() for name, values in series]
        yield (
            f'<text x="{width / 2:g}" y="{height / 2 + 18:g}" text-anchor="middle" font-size="22" '
            f'fill="#56a64b">{escape(", ".join(said))}</text>'
        )
    else:
        yield from lines(series, (width, height), (start, end), unit)
    yield "</g>"


def lines(
    series: list[Series], size: tuple[float, float], times: tuple[float, float], unit: str
) -> Iterator[str]:
    """A chart of some series."""
    left, top, right, bottom = 58.0, 26.0, size[0] - 10, size[1] - 38
    highest = max(value for _, values in series for _, value in values) * 1.1 or 1.0
    for part in range(5):
        y = bottom - (bottom - top) * part / 4
        label = shown(highest * part / 4, unit)
        yield f'<path d="M{left} {y:.1f}H{right}" stroke="#e7e8e9"/>'
        yield f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end" font-size="9">{label}</text>'
    yield f'<text x="{left}" y="{bottom + 13:g}" font-size="9">{clock(times[0])}</text>'
    yield (
        f'<text x="{right}" y="{bottom + 13:g}" font-size="9" text-anchor="end">'
        f"{clock(times[1])}</text>"
    )
    step = (times[1] - times[0]) / POINTS
    x_of_legend = left
    for number, (name, values) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        path, before = "", -math.inf
        for at, value in values:
            x = left + (right - left) * (at - times[0]) / (times[1] - times[0])
            y = bottom - (bottom - top) * value / highest
            path += f"{'L' if at - before < 2 * step else 'M'}{x:.1f} {y:.1f}"
            before = at
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        if x_of_legend < right - 20:
            yield (
                f'<text x="{x_of_legend:g}" y="{size[1] - 9:g}" font-size="10" fill="{colour}">'
                f"{escape(name)}</text>"
            )
        x_of_legend += 6.0 * len(name) + 12


def shown(value: float, unit: str) -> str:
    """A value for people."""
    match unit:
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "bytes":
            return scaled(value, ["B", "KiB", "MiB", "GiB", "TiB"], 1024)
        case "s":
            return scaled(value * 1e6, ["µs", "ms", "s"], 1000)
        case _:
            return scaled(value, ["", "k", "M", "G"], 1000) + ("/s" if unit == "ops" else "")


def scaled(value: float, names: list[str], base: int) -> str:
    """A value with the largest unit that leaves at least 1 of it."""
    power = 0
    while value >= base and power < len(names) - 1:
        value /= base
        power += 1
    return f"{value:.3g} {names[power]}".strip()


def clock(seconds: float) -> str:
    """The time of the day, UTC."""
    return time.strftime("%H:%M:%S", time.gmtime(seconds))


if __name__ == "__main__":
    main()
