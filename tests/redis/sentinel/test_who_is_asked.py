"""Which sentinels are asked: those configured and those that these name, one vote each."""

from tests.support.sentinel_peers import NEW, OLD, Fake, acquaint, addresses, asking, masters, until


async def test_those_they_name_are_asked(three: list[Fake]) -> None:
    """One is configured, three are known: two must agree, so the others are asked at once."""
    async with asking(addresses(three[:1])) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
        assert [fake.questions for fake in three] == [1, 1, 1]
        await three[0].stop()
        await sentinel.look()
        assert [fake.questions for fake in three] == [1, 2, 2]
        assert sentinel.problem is None


async def test_one_configured_of_three_known_is_no_majority(three: list[Fake]) -> None:
    await three[1].stop()
    await three[2].stop()
    async with asking(addresses(three[:1])) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()
        assert str(sentinel.problem).startswith("1 of 3 sentinels answers, 2 must agree; ")


async def test_one_of_three_configured_that_knows_no_other(three: list[Fake]) -> None:
    """Its word alone is not enough: it may have been started without a past."""
    three[0].others = ()
    await three[1].stop()
    await three[2].stop()
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()
        assert str(sentinel.problem).startswith("1 of 3 sentinels answers, 2 must agree; ")


async def test_who_is_named_no_more_is_left(three: list[Fake]) -> None:
    """Else its vote would count for ever, and be missed."""
    async with asking(addresses(three[:1])) as sentinel:
        await sentinel.look()
        acquaint(three[:2])
        await sentinel.look()
        assert three[2].questions == 2
        await until(lambda: not three[2].open, "its connection is closed")
        await sentinel.look()
        assert three[2].questions == 2


async def test_one_sentinel_has_one_vote(three: list[Fake]) -> None:
    """However many addresses it has."""
    again = Fake(0)
    again.others = three[1:]
    await again.start()
    three[1].master = three[2].master = NEW
    async with asking(addresses([three[0], again, three[1], three[2]])) as sentinel:
        await sentinel.look()
        assert sentinel.masters == ()  # of four configured, three must agree
        assert str(sentinel.problem).endswith(": 10.0.0.1:6379 (1), 10.0.0.2:6380 (2)")
    await again.stop()


async def test_without_ids(three: list[Fake]) -> None:
    """Old sentinels do not tell their own, but those of the others."""
    for fake in three:
        fake.tells_id = False
    three[2].master = NEW
    async with asking(addresses(three)) as sentinel:
        await sentinel.look()
        assert sentinel.masters == masters(OLD)
