"""The benchmark's command line."""

import signal
import sys
from pathlib import Path

import click
import orjson
from rich.console import Console

from .bench import BY_DEFAULT, MEMORY, PRELOAD, Bench
from .cases import CASES
from .figures import figures
from .machine import take_cores
from .processes import CannotRun
from .report import print_figures
from .servers import PEERS, Server, wrk_install
from .storms import STORMS

_WIDTH = 110


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--case",
    "cases",
    multiple=True,
    type=click.Choice([*CASES, *STORMS, PRELOAD, MEMORY]),
    help=f"Run this case; may be repeated. Default: all but {MEMORY}, which takes minutes.",
)
@click.option(
    "--peers",
    default=",".join(PEERS),
    show_default=True,
    metavar="NAMES",
    help="Compare with these, separated by commas; none with an empty text.",
)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--seconds",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Seconds under load, for each server in each round.",
)
@click.option(
    "--again",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Repeat a measurement so often when others used the server's core; keep the quietest.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="One round of one second, a tenth of the stations of storms, preload and memory.",
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--assert/--no-assert",
    "hold",
    default=True,
    help="Exit with 1 when a wanted figure is not reached.",
)
def main(
    *,
    cases: tuple[str, ...],
    peers: str,
    rounds: int,
    seconds: int,
    again: int,
    quick: bool,
    json_file: Path | None,
    hold: bool,
) -> None:
    """Measure what a lookup costs beside nginx and the plain ways to build it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=_WIDTH, highlight=False)
    installed = _installed(peers, console)
    if install := wrk_install():
        raise click.ClickException(f"wrk makes the load and is missing: {install}")
    try:
        bench = Bench(
            console=console,
            cores=take_cores(),
            peers=installed,
            rounds=1 if quick else rounds,
            seconds=1 if quick else seconds,
            again=again,
            scale=0.1 if quick else 1,
        )
        results = bench.run(cases or BY_DEFAULT)
    except (CannotRun, OSError) as error:
        raise click.ClickException(str(error)) from error
    found = figures(results.measured, results.memory)
    print_figures(console, found)
    if json_file:
        json_file.write_bytes(orjson.dumps(results.as_json(found), option=orjson.OPT_INDENT_2))
    if hold and any(figure.verdict == "FAIL" for figure in found):
        sys.exit(1)


def _installed(names: str, console: Console) -> list[Server]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := set(wanted) - set(PEERS):
        raise click.UsageError(f"no such peer: {', '.join(sorted(unknown))}")
    for name in wanted:
        if install := PEERS[name].install:
            console.print(f"{name} is missing and left out: {install}")
    return [PEERS[name] for name in wanted if not PEERS[name].install]
