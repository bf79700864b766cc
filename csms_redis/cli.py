"""The command line."""

import sys
from importlib import import_module

import click

from csms_redis import __version__, early_signals

_COMMANDS = {
    "serve": "serve:serve_command",
    "check": "check:check_command",
    "hash-password": "hashes:hash_password",
    "new-secret": "hashes:new_secret_command",
    "hash-certificate": "hashes:hash_certificate",
    "openapi": "openapi:openapi_command",
    "import": "import_:import_command",
    "export": "export:export_command",
    "station": "station:station",
    "token": "token:token",
    "certificate": "certificate:certificate",
}
"""Where each command is, in csms_redis.commands, in the order of the help."""


class _Commands(click.Group):
    """Imports the command that is asked for: all of them together take half a second."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, for the help and for what to propose."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One by its name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        if sys.argv[1:2] == ["serve"]:  # as a process of its own
            early_signals.obey()
        module, _, name = _COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(f"csms_redis.commands.{module}"), name)
        assert isinstance(found, click.Command)  # noqa: S101 as the table says
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="csms-redis")
def main() -> None:
    """Charge station registry: the MaEVe CSMS internal API on Redis."""
