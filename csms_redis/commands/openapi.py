"""`csms-redis openapi`."""

import click
import orjson

from csms_redis import __version__
from csms_redis.contract.openapi import document


@click.command("openapi")
def openapi_command() -> None:
    """Print the API's OpenAPI document as JSON.

    The service has the same document at /api/openapi.json.
    """
    click.echo(orjson.dumps(document(__version__), option=orjson.OPT_INDENT_2).decode())
