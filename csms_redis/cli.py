"""The command line `csms-redis`: which commands there are."""

import sys
from importlib import import_module

import click

from csms_redis import __version__, early_signals

_COMMANDS = {
    "serve": "serve:serve_command",
    "check": "check:check_command",
    "config": "config:config_command",
    "hash-password": "hashes:hash_password",
    "new-secret": "hashes:new_secret_command",
    "hash-certificate": "hashes:hash_certificate",
    "openapi": "openapi:openapi_command",
    "import": "import_:import_command",
    "export": "export:export_command",
    "station": "station:station",
    "token": "token:token",
    "certificate": "certificate:certificate",
    "refused": "refused:refused",
}
"""The module of each command, in csms_redis.commands, and its name there; in the help's order."""


class _Commands(click.Group):
    """Imports only the command that is run: to import them all takes half a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of all commands, in the order of the help."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is none of this name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        if sys.argv[1:2] == ["serve"]:  # not when a test calls main
            early_signals.obey()
        module, _, name = _COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"csms_redis.commands.{module}"), name)
        assert isinstance(found, click.Command)  # noqa: S101 the table names commands
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="csms-redis")
def main() -> None:
    """Charge station registry: the MaEVe CSMS internal API on Redis."""
