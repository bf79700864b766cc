"""The tables of `deploy/balancers.md` are what real balancers do."""

import re

import pytest

from tests.deploy import balancer_table
from tests.deploy.balancer_table import FOUND, PAGE, STATIONS, header, made_block, row, rule
from tests.support.balancer_settings import SETTINGS

AS_NEEDED = ("nginx 3", "HAProxy 3", "Envoy 3", "Caddy 3", "Apache 4", "Varnish 2")


def cells(text: str, head: list[str]) -> dict[str, dict[str, str]]:
    """The rows of a table by their first cells; each by its head."""
    _, found, below = text.partition(row(head) + rule(len(head)))
    assert found, head
    rows = [line.split(" | ") for line in below.partition("\n\n")[0].splitlines()]
    assert all(len(each) == len(head) for each in rows)
    return {
        each[0].removeprefix("| "): dict(
            zip(head[1:], [cell.removesuffix(" |") for cell in each[1:]], strict=True)
        )
        for each in rows
    }


def test_the_page_has_a_row_for_each_id_and_a_column_for_each_setting() -> None:
    """So that whoever adds one makes the tables anew."""
    block = made_block(PAGE.read_text("utf-8"))

    told = cells(block, ["balancer", "version", "what is set"])
    assert {name: each["what is set"] for name, each in told.items()} == {
        one.column: one.said for one in SETTINGS
    }
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", each["version"]) for each in told.values())
    ids = cells(block, header())
    assert {f"id with {one.has}" for one in STATIONS} <= ids.keys()
    assert all(
        re.fullmatch(rf"{FOUND}|\d{{3}}|another", cell)
        for each in ids.values()
        for cell in each.values()
    )


@pytest.mark.parametrize("column", AS_NEEDED)
def test_with_what_is_needed_every_id_is_found(column: str) -> None:
    """As the page says of each balancer."""
    ids = cells(made_block(PAGE.read_text("utf-8")), header())

    assert {each[column] for each in ids.values()} == {FOUND}


@pytest.mark.slow
def test_it_is_what_they_do() -> None:
    """The programs that are here, which may be others than those of the page."""
    if wanted := balancer_table.missing():
        pytest.skip(f"not installed: {'; '.join(wanted)}")
    now, page = balancer_table.tables(), made_block(PAGE.read_text("utf-8"))

    def of(text: str) -> tuple[object, ...]:
        """All but the date and the versions."""
        return cells(text, header()), text.partition("### Repeats")[2].strip()

    assert of(now) == of(page)
