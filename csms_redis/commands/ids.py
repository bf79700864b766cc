"""Ids on the command line, where one that begins with a dash looks like an option."""

import click

from csms_redis.contract.certificates import certificate_hash

DASH_HELP = "An id that begins with - goes after --."


class IdCommand(click.Command):
    """A command about one record, which its argument names by id."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; say how to write an id that was taken for an option."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name.startswith("--"):
                raise
            message = f"{error.message} {DASH_HELP}"
            raise click.NoSuchOption(error.option_name, message, ctx=ctx) from None


class HashCommand(IdCommand):
    """A command about one certificate, which its argument names by hash.

    One hash in 64 begins with a dash. No option can be taken for a hash, so `--` is not needed.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, the hashes as if they stood after `--`."""
        hashes = [each for each in args if each.startswith("-") and certificate_hash(each)]
        if hashes and "--" not in args:
            args = [*(each for each in args if each not in hashes), "--", *hashes]
        return super().parse_args(ctx, args)
