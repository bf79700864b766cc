"""Tables come back the same, in whatever dialect they were written."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from csms_redis.contract.blanks import BLANKS
from csms_redis.fleet.formats import Format
from csms_redis.fleet.writers import open_writer
from tests.support.csv_files import TOKENS, records

BLANK = st.text(st.sampled_from(BLANKS), max_size=2)
# A csId has no control characters. NULL and marks are left to the tests of cells.
WORD = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12).map(
    lambda text: f"x{text}x"
)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def dialect(draw: st.DrawFn) -> tuple[list[dict[str, Any]], bytes]:
    """A table of records, and a file that has it in some dialect."""
    columns = ["csId", "securityProfile", "password", "invalidUsernameAllowed", "lastUpdated"]
    columns = draw(st.permutations(columns))
    record = st.fixed_dictionaries(
        {"csId": WORD, "securityProfile": st.integers(0, 2)},
        optional={
            "password": st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(
                lambda text: f"p{text}"
            ),
            "invalidUsernameAllowed": st.booleans(),
            "lastUpdated": WORD,
        },
    )
    table = draw(st.lists(record, max_size=6))
    delimiter = draw(st.sampled_from(",;\t|"))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quotes_all = draw(st.booleans())
    text = io.StringIO(newline="")

    def write(cells: list[str]) -> None:
        odd = {delimiter, '"', "\r", "\n"}
        quoted = (
            '"' + cell.replace('"', '""') + '"' if quotes_all or odd & {*cell} else cell
            for cell in cells
        )
        text.write(delimiter.join(quoted) + end)

    if draw(st.booleans()):
        text.write(f"sep={delimiter}{end}")
    changes: list[Callable[[str], str]] = [str, str.upper, str.lower, str.title]
    change = draw(st.sampled_from(changes))
    between = draw(st.sampled_from(["", "_", "-", " "]))
    write([between.join([change(name[:2]), change(name[2:])]) for name in columns])
    spelled = draw(
        st.sampled_from([("true", "false"), ("TRUE", "FALSE"), ("1", "0"), ("Yes", "No")])
    )

    def cell(name: str, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, bool):
            value = spelled[not value]
        around = "" if name == "password" else draw(BLANK)
        return f"{around}{value}{around}"

    for row in table:
        if draw(st.booleans()):
            text.write(draw(st.sampled_from([end, delimiter * 3 + end, f" {end}\n\r"])))
        cells = [cell(name, row.get(name)) for name in columns]
        while draw(st.booleans()) and not cells[-1]:
            cells.pop()  # trailing cells may be missing
        write(cells)
    if draw(st.booleans()):
        text.write("\x1a")
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    return table, text.getvalue().encode(encoding)


class TestAnyDialect:
    """Whoever writes a table, and however."""

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(dialect())
    def test_reads_back_the_same(self, given_: tuple[list[dict[str, Any]], bytes]) -> None:
        table, data = given_
        assert records(data) == table


class TestExport:
    """What an export writes."""

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.lists(TEXT, min_size=3, max_size=3), max_size=5))
    @example([["", " ", "NULL"], ["\\N", "' x'", '="x"'], ["a\r\nb", "4.65E+12", "'t Hof"]])
    def test_reads_back_the_same(self, rows: list[list[str]]) -> None:
        """Whatever is in a text."""
        names = ["uid", "issuer", "groupId"]
        table = [dict(zip(names, row, strict=True)) | {"valid": False} for row in rows]
        with tempfile.TemporaryDirectory() as directory:
            target = Path(directory) / "x.csv"
            every = list(TOKENS.exported)
            with open_writer(Format.CSV, target, every) as writer:
                for record in table:
                    writer.write("", record)
            assert records(target.read_bytes(), "tokens") == table
