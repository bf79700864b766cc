"""The console in a browser, used as a person does: by what its labels and buttons say."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from selenium.common.exceptions import (
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support.browser import PATIENCE, complaints

Found = TypeVar("Found")

# what can be used now: while a dialog is open, only what is in it
_SCOPE = "const scope = document.querySelector('dialog[open]') ?? document.body;"
_FIELD = f"""{_SCOPE}
  const label = [...scope.querySelectorAll('label')].find((each) => {{
    const text = each.cloneNode(true);
    text.querySelectorAll('input, select, textarea').forEach((field) => field.remove());
    return text.textContent.trim() === arguments[0];
  }});
  return label?.querySelector('input, select, textarea') ?? null;"""
_BUTTON = f"""{_SCOPE}
  return [...scope.querySelectorAll('button, a')].find((each) =>
    (each.getAttribute('aria-label') ?? each.textContent.trim()) === arguments[0]) ?? null;"""
_ROWS = """const rows = document.querySelectorAll(`main [aria-label="${arguments[0]}"] tbody tr`);
return [...rows].map((row) => [...row.cells].filter((cell) => !cell.classList.contains('choice'))
    .map((cell) => cell.innerText.trim()));"""

_GO = """return new Promise((done) => {
  addEventListener('hashchange', () => requestAnimationFrame(() => setTimeout(done)), {once: true});
  location.hash = '#/elsewhere';
  location.hash = arguments[0];
});"""


class ConsolePage:
    """The page at one service."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self, view: str, title: str) -> None:
        """Go to a view, as it is when one comes to it; load the page where it is not there."""
        if self.browser.current_url.startswith(f"{self.url}/console"):
            self.run(_GO, f"#/{view}")
        else:
            self.browser.get(f"{self.url}/console#/{view}")
        self.until(lambda: self.text("h1") == title, f"the view {title}")

    def until(self, condition: Callable[[], Found], what: str) -> Found:
        """Wait for something that is true, and give it."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if found := condition():
                    return found
            except (StaleElementReferenceException, ElementNotInteractableException):
                pass  # it was just drawn anew
            assert time.monotonic() < end, f"{what}:\n{self.text('body')}"
            time.sleep(0.02)

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript, from outside the page's own policy."""
        return self.browser.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """What stands in the first element; nothing where there is none."""
        return str(
            self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        )

    def field(self, label: str) -> WebElement:
        """The field with this label."""
        found: WebElement = self.until(lambda: self.run(_FIELD, label), f"the field {label}")
        return found

    def has(self, button: str) -> bool:
        """Whether there is such a button or link."""
        return self.run(_BUTTON, button) is not None

    def fill(self, label: str, text: str) -> None:
        """Type into a field, in the place of what it has."""
        self.field(label).send_keys(Keys.CONTROL + "a" + Keys.NULL, text or Keys.DELETE)

    def choose(self, label: str, option: str) -> None:
        """Choose one of a list by its words."""
        path = f".//option[normalize-space()='{option}']"
        self.until(lambda: self.field(label).find_elements(By.XPATH, path), option)[0].click()

    def press(self, button: str) -> None:
        """Press a button, or follow a link, once it is there and can be used."""

        def pressed() -> bool:
            found = self.run(_BUTTON, button)
            if found is None or not found.is_enabled():
                return False
            found.click()
            return True

        self.until(pressed, f"the button {button}")

    def tick(self, box: str) -> None:
        """Tick a box by its label."""
        self.until(
            lambda: self.browser.find_elements(By.CSS_SELECTOR, f"[aria-label='{box}']"), box
        )[0].click()

    def rows(self, table: str) -> list[list[str]]:
        """The cells of a table's rows, those that a narrow page leaves out empty."""
        rows: list[list[str]] = self.run(_ROWS, table)
        return rows

    def first_cells(self, table: str) -> set[str]:
        """The first cell of each row."""
        return {row[0] for row in self.rows(table)}

    def until_rows(self, table: str, *first: str) -> None:
        """Wait until a table has just these rows."""
        self.until(lambda: self.first_cells(table) == set(first), f"rows {first}")

    def until_told(self, text: str) -> None:
        """Wait until the page says that something was done."""
        self.until(lambda: self.text(".told") == text, text)

    def until_closed(self) -> None:
        """Wait until no dialog is open."""
        self.until(lambda: not self.run("return document.querySelector('dialog[open]')"), "closed")

    def faults(self) -> list[Any]:
        """What the browser complains of, but for answers that are no success: the page says so."""
        return [entry for entry in complaints(self.browser) if entry["source"] != "network"]

    @property
    def dialog(self) -> str:
        """What stands in the open dialog."""
        return self.text("dialog[open]")
