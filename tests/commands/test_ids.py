"""Ids on the command line that begin with a dash."""

import click
import pytest

from csms_redis.commands.certificate import certificate
from csms_redis.commands.station import station
from csms_redis.commands.token import token

HASH = "-" + "A" * 42 + "="  # a certificate's, as one in 64 begins


class TestDashes:
    """Ids that begin with one."""

    @pytest.mark.parametrize(
        ("arguments", "hash_", "as_json"),
        [
            ([HASH], HASH, False),
            ([HASH.rstrip("="), "--json"], HASH.rstrip("="), True),
            (["--json", "-h" + HASH[2:]], "-h" + HASH[2:], True),
            (["--", HASH], HASH, False),
        ],
    )
    def test_a_hash_is_no_option(self, arguments: list[str], hash_: str, as_json: bool) -> None:  # noqa: FBT001 a table
        """Wherever it stands."""
        for name in ("show", "remove"):
            given = certificate.commands[name].make_context(name, list(arguments)).params
            assert (given["hash_"], given["as_json"]) == (hash_, as_json)

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            ([HASH, "--jsno"], "No such option '--jsno'"),
            ([HASH, HASH], "unexpected extra argument"),
            ([HASH[:-2]], "An id that begins with - goes after --."),
            (["-x1", "--json"], "An id that begins with - goes after --."),
            (["x1", "-json"], "An id that begins with - goes after --."),
        ],
    )
    def test_what_is_no_option_either(self, arguments: list[str], complaint: str) -> None:
        """A misspelled option is an error, and any other id goes after two dashes."""
        for group in (station, token, certificate):
            if arguments[0] != HASH or group is certificate:
                with pytest.raises(click.UsageError) as raised:
                    group.commands["show"].make_context("show", list(arguments))
                assert complaint in raised.value.format_message()

    @pytest.mark.parametrize("group", [station, token])
    def test_other_ids_go_after_two(self, group: click.Group) -> None:
        """As the help says."""
        for name in ("add", "show", "remove"):
            shown = group.commands[name]
            help_ = shown.get_help(click.Context(shown, info_name=name))
            assert "An id that begins with - goes after --." in help_
        given = group.commands["show"].make_context("show", ["--json", "--", "-x1"]).params
        assert "-x1" in given.values()
