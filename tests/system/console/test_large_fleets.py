"""The page on large fleets: how long until something is to be seen. Figures are printed."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from selenium.webdriver import Chrome

from tests.support.browser import needs_chromium
from tests.support.console_page import ConsolePage
from tests.support.service import Service

pytestmark = [needs_chromium, pytest.mark.slow]

AT_ONCE = 10_000
FILL = """
for number = ARGV[1], ARGV[1] + ARGV[2] - 1 do
  redis.call('HSET', string.format('cs:depot-%07d', number), 'securityProfile', '1',
    'base64SHA256Password', '"XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="',
    'registrationStatus', '"Accepted"', 'lastUpdated', '"2026-01-01T00:00:00Z"')
end
"""
# milliseconds from the last key to the first row, to the end of the search; and the rows
SEARCH = """
const [prefix] = arguments;
const field = document.querySelector('input[name=csIdPrefix]');
const rows = () => [...document.querySelectorAll('main tbody tr')];
const began = performance.now();
let first = null;
field.value = prefix;
field.dispatchEvent(new Event('input', { bubbles: true }));
return new Promise((done) => {
  const look = () => {
    const found = rows().map((row) => row.cells[1].innerText);
    const fit = found.length > 0 && found.every((id) => id.startsWith(prefix));
    if (fit && first === null) first = performance.now() - began;
    const said = document.querySelector('.foot').innerText;
    const isOver = !/…/.test(said) && performance.now() - began > 400;
    if (isOver && (fit || !found.length)) done([first, performance.now() - began, found]);
    else setTimeout(look, 5);
  };
  look();
});
"""
MORE = """
const rows = () => document.querySelectorAll('main tbody tr').length;
const before = rows();
const began = performance.now();
[...document.querySelectorAll('.foot button')].at(-1).click();
return new Promise((done) => {
  const look = () => (rows() > before ? done(performance.now() - began) : setTimeout(look, 5));
  look();
});
"""
PAINT = """
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return [paint.startTime, performance.getEntriesByType('resource')
  .find(({ name }) => name.includes('/cs?')).responseEnd];
"""


@pytest.fixture(scope="module", params=[100_000, 1_000_000])
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, Service]]:
    """A service with so many stations."""
    settings = {"CSMS_LOOKUP__PRELOAD": "false"}  # listings read from Redis anyway
    with Service(tmp_path_factory.mktemp("large"), settings) as running:
        running.ready()
        with Redis(unix_socket_path=str(running.data_dir / "valkey.sock")) as redis:
            redis.config_set("appendfsync", "no")
            for first in range(0, request.param, AT_ONCE):
                redis.eval(FILL, 0, first, AT_ONCE)
        running.stop()
        running.start().ready()
        yield request.param, running


def test_a_search_shows_its_first_rows(fleet: tuple[int, Service], browser: Chrome) -> None:
    """Of a prefix that many have, few, one, or none; and of the whole list a page after another."""
    number, service = fleet
    page = ConsolePage(browser, service.url)
    browser.get("about:blank")
    page.open("stations", "Stations")
    page.until(lambda: len(page.rows("Stations")) >= 50, "the first page")
    painted, listed = page.run(PAINT)
    print(f"\n{number:,} stations: first paint {painted:.0f} ms, first page {listed:.0f} ms")  # noqa: T201 what it is for
    more = [page.run(MORE) for _ in range(5)]
    print(f"  next pages {', '.join(f'{each:.0f}' for each in more)} ms")  # noqa: T201
    for prefix, expected in (
        ("depot-00", 50),
        ("depot-0042", 50),
        ("depot-00423", 50),
        ("depot-004231", 10),
        ("depot-0042317", 1),
        ("nothing", 0),
    ):
        first, end, found = search(page, prefix)
        said = "none" if first is None else f"{first:.0f} ms"
        print(f"  {prefix}: first rows {said}, {len(found)} rows {end:.0f} ms")  # noqa: T201
        assert len(found) >= expected
        assert (expected == 50) or len(found) == expected
        assert all(each.startswith(prefix) for each in found)


def search(page: ConsolePage, prefix: str) -> tuple[float | None, float, list[str]]:
    page.browser.set_script_timeout(120)
    found: Any = page.run(SEARCH, prefix)
    return found[0], found[1], found[2]
