"""`csms-redis serve`: the service, from the command line to its end."""

import asyncio
from pathlib import Path

import click
import uvloop

from csms_redis.commands.exits import exit_with
from csms_redis.commands.inputs import config_option, read_settings
from csms_redis.listening_sockets import CannotListen
from csms_redis.redis.embedded import EmbeddedError
from csms_redis.service import serve
from csms_redis.settings import BadSettings
from csms_redis.telemetry import log


@click.command("serve")
@config_option
@click.option("--host", help="Address to listen on; default 127.0.0.1, and :: is every one.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; default 9410.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the embedded store keeps its files; default ./data.",
)
def serve_command(
    config: Path | None, host: str | None, port: int | None, data_dir: Path | None
) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    A setting comes from these options, else from the environment (as CSMS_SERVER__PORT), else from
    config.toml.
    """
    settings = read_settings(
        config, {"server": {"host": host, "port": port}, "redis": {"data_dir": data_dir}}
    )
    log.configure(settings.telemetry)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings))
    except (BadSettings, EmbeddedError, CannotListen) as error:
        exit_with(str(error))
