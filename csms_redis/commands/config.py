"""`csms-redis config`: every setting with its default and a comment."""

from importlib.resources import files

import click


@click.command("config")
def config_command() -> None:
    """Print all settings with their defaults and comments.

    Save it as config.toml where the service starts, and keep the lines that you change:

        csms-redis config > config.toml
    """
    click.echo((files("csms_redis") / "config.toml").read_text("utf-8"), nl=False)
