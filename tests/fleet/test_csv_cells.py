"""What a cell of a CSV file says: a text, a password, nothing, or digits that are lost."""

import csv
import io
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from csms_redis.fleet.cells import read_cell, write_cell
from csms_redis.fleet.rows import Unreadable
from tests.support.csv_files import HEADER, TOKEN, read, records


def tokens(rows: str) -> list[dict[str, Any]]:
    """What rows of a uid and more columns have, the rest being a token's."""
    head, *below = rows.splitlines()
    text = "\n".join(
        [
            f"{','.join(TOKEN)},{head}",
            *(f"{','.join(str(value) for value in TOKEN.values())},{row}" for row in below),
        ]
    )
    found = records(text, "tokens")
    return [{k: v for k, v in row.items() if k not in TOKEN} for row in found]


class TestCells:
    """What a cell says."""

    @pytest.mark.parametrize(
        ("cell", "value"),
        [
            ("NULL", None),
            ("null", None),
            ("\\N", None),
            (" NULL\u00a0", None),
            ('"NULL"', "NULL"),
            ('"\\N"', "\\N"),
            ('" NULL "', "NULL"),
            ("'NULL", "NULL"),
            ("NULLS", "NULLS"),
            ("'0465AB12", "0465AB12"),
            ("'ABC", "ABC"),
            ("' 12 ", "12"),
            ("'12'", "12"),
            ("'t Hof", "'t Hof"),
            ("'s-Hertogenbosch", "'s-Hertogenbosch"),
            ('"=""0465"""', "0465"),
            ('="0465"', "0465"),
            ('="a""b"', 'a"b'),
            ('=" 04\u00a0"', "04"),
            ("\ufeff\u202ax\u202c\u200e", "x"),
            ("\u3000x\u2800\u3164", "x"),
        ],
    )
    def test_of_a_text(self, cell: str, value: str | None) -> None:
        assert tokens(f"uid,groupId\nU1,{cell}\nU2,\n") == [
            {"uid": "U1", "groupId": value},
            {"uid": "U2"},
        ]

    @pytest.mark.parametrize(
        ("cell", "password"),
        [
            (" x\u00a0", " x\u00a0"),
            ("'x", "'x"),
            ('"=""0465"""', "0465"),
            ("NULL", None),
            ("\\N", None),
            ('"NULL"', "NULL"),
            ("4.65E+12", "4.65E+12"),
            ("-", "-"),
        ],
    )
    def test_of_a_password_each_character_counts(self, cell: str, password: str | None) -> None:
        assert records(f"{HEADER}cs1,1,{cell}\n") == [
            {"csId": "cs1", "securityProfile": 1, "password": password}
        ]

    @pytest.mark.parametrize(
        "id_",
        ["4.65E+12", "4,65E+12", "1e+9", "04E+1", '="4.65E+12"', "4.65e12", "4,65E12", "4,65 E+12"],
    )
    @pytest.mark.parametrize("column", ["uid", "groupId", "contractId", "visualNumber"])
    def test_a_number_whose_digits_are_lost(self, id_: str, column: str) -> None:
        """The row is refused, with the column, the value and what to do."""
        names = [*dict.fromkeys([*TOKEN, "uid", column])]
        values = {name: str(value) for name, value in TOKEN.items()} | {"uid": "U1", column: id_}
        text = io.StringIO()
        csv.writer(text).writerows([names, [values[name] for name in names]])
        (row,) = read(text.getvalue(), "tokens")
        assert isinstance(row, Unreadable)
        assert (row.line, row.column) == (2, column)
        assert row.data is not None
        assert row.data[column] == id_
        assert "its digits are lost" in row.reason
        assert "as text" in row.reason

    @pytest.mark.parametrize(
        ("cell", "moment"),
        [
            ("2026-01-31 10:00:00+00", "2026-01-31T10:00:00+00:00"),
            ("2026-01-31 10:00:00.123456-0530", "2026-01-31T10:00:00.123456-05:30"),
            ("2026-01-31 10:00:00 +02:00", "2026-01-31T10:00:00+02:00"),
            ("2026-01-31 10:00:00Z", "2026-01-31T10:00:00Z"),
            ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"),
            ("2026-01-31 10:00:00", "2026-01-31 10:00:00"),
            ("31.01.2026", "31.01.2026"),
            ("NULL", None),
        ],
    )
    def test_a_moment_of_a_database(self, cell: str, moment: str | None) -> None:
        """Where its zone is not said, it is not guessed."""
        assert tokens(f"uid,last_updated\nU1,{cell}\n") == [{"uid": "U1", "lastUpdated": moment}]

    @pytest.mark.parametrize(
        "id_",
        ["465E12", "12345E+1A", "'4.65E+12", "E+12", "12E34567", "1.E2", "A.6E12", "4.6F12"],
    )
    def test_what_only_looks_like_one(self, id_: str) -> None:
        assert tokens(f"uid\n{id_}\n") == [{"uid": id_.removeprefix("'")}]

    @given(st.text())
    @example("=1+1")
    @example("'")
    @example("''")
    @example("'=x")
    @example("")
    @example(" x ")
    @example("' x'")
    @example("null")
    @example("\\N")
    @example("4.65E+12")
    @example('="x"')
    def test_a_cell_is_no_formula_and_comes_back(self, text: str) -> None:
        cell = write_cell(text)
        assert read_cell(cell) == text
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell
