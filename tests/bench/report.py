"""The report, as text and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from .cache_memory import Memory
from .cases import SERVICE
from .figures import Figure, Measured
from .sample import Sample, medians, ratios

_COLUMNS = (
    "CPU µs",
    "lookups/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "busy",
    "others",
    "commands",
    "wrong",
    "ratio",
)


def print_case(console: Console, case: str, rows: Mapping[str, list[Sample]]) -> None:
    """Print a case's table: medians over the rounds, and the service's ratio to each row."""
    table = Table(title=case, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for name, samples in rows.items():
        middle = medians(samples)
        table.add_row(
            name,
            f"{middle['cpu_us']:.1f}",
            f"{middle['per_second']:,.0f}",
            f"{middle['p50_ms']:.2f}",
            f"{middle['p99_ms']:.2f}",
            f"{middle['p999_ms']:.2f}",
            f"{middle['busy']:.0%}",
            f"{middle['others']:.0%}",
            f"{middle['commands']:.3f}",
            str(sum(sample.wrong for sample in samples)),
            "" if name == SERVICE else f"{median(ratios(rows[SERVICE], samples)):.2f}",
        )
    console.print(table)
    if any(sample.disturbed for samples in rows.values() for sample in samples):
        console.print("Others used the server's core meanwhile: repeat this on a quiet machine.\n")


def print_memory(console: Console, memory: Memory) -> None:
    """Print what the near cache costs."""
    console.print(
        f"memory\n  {memory.bytes_per_station:.0f} bytes per station, {memory.stations:,} cached\n"
        f"  {memory.certificate_bytes / 2**20:.1f} MiB for {memory.certificates:,} certificates "
        f"of 2.5 kB, lookup.cache_bytes = {memory.cache_bytes / 2**20:.0f} MiB\n",
        highlight=False,
    )


def print_figures(console: Console, found: list[Figure]) -> None:
    """Print each wanted figure beside the measured one."""
    table = Table(title="wanted", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("case")
    table.add_column("figure")
    table.add_column("at most", justify="right")
    table.add_column("measured", justify="right")
    table.add_column("")
    for figure in found:
        measured = "" if figure.measured is None else f"{figure.measured:,.3g}"
        table.add_row(figure.case, figure.what, f"{figure.at_most:,.3g}", measured, figure.verdict)
    console.print(table)


def as_json(
    machine: Mapping[str, str], measured: Measured, memory: Memory | None, found: list[Figure]
) -> dict[str, Any]:
    """Everything that was measured, round by round, and what was made of it."""
    return {
        "machine": machine,
        "cases": {case: _case(rows) for case, rows in measured.items()},
        "memory": asdict(memory) if memory else None,
        "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in found],
    }


def _case(rows: Mapping[str, list[Sample]]) -> dict[str, Any]:
    service = rows[SERVICE]
    return {
        name: {
            "rounds": [asdict(sample) for sample in samples],
            "medians": medians(samples),
            "service_ratio": {
                "rounds": (each := ratios(service, samples)),
                "median": median(each),
            },
        }
        for name, samples in rows.items()
    }
