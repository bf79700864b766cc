"""`csms-redis token` as an operator or a script runs it."""

from tests.support.commands import TOKEN, Run, audited, records


class TestTokens:
    """`csms-redis token`."""

    def test_from_adding_to_removing(self, run: Run) -> None:
        """Whatever the case of the uid."""
        added = run("token", "add", "abc1", *TOKEN)
        assert audited(added, "operation", "uid", "outcome") == ["setToken", "ABC1", "done"]
        (shown,) = records(run("token", "show", "ABC1", "--json"))
        assert (shown["uid"], shown["contractId"]) == ("abc1", "DE8ACC12E46L891")
        run("token", "add", "ABC1", *TOKEN, code=4)
        run("token", "add", "ABC1", *TOKEN, "--not-valid", "--replace")
        (listed,) = records(run("token", "list", "--not-valid", "--json"))
        assert listed["uid"] == "ABC1"
        assert "ABC1" in run("token", "list").stdout
        assert audited(run("token", "add", "x", *TOKEN, "--type", "y", code=2), "outcome") == [
            "refused"
        ]
        run("token", "remove", "aBc1")
        run("token", "remove", "aBc1", code=3)
        run("token", "show", "abc1", code=3)
