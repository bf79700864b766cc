"""CSV as spreadsheets and databases write it: what each cell and each header means."""

import io
from pathlib import Path
from typing import Any

import pytest

from csms_redis.fleet import csv_rows
from csms_redis.fleet.names import Names
from csms_redis.fleet.rows import MAX_RECORD, Unreadable
from tests.conftest import DATA
from tests.support.csv_files import HEADER, STATIONS, TOKEN, read, records, told

CASES = DATA / "imports"


class TestCases:
    """Files as the field writes them, each with its right value."""

    @pytest.mark.parametrize(
        ("name", "uids"),
        [
            ("header_quoted_semicolon", ["A10b"]),
            ("trailing_empty_rows", ["A7"]),
            ("short", ["E1", "E2"]),
            ("uid_excel_formula", ["0465AB12"]),
            ("cr_only", ["A22", "A22b"]),
            ("uid_spaces", ["0465AB13", "0465AB14", "04 65 AB 15", "0465AB16", "0465AB17"]),
        ],
    )
    def test_tokens(self, name: str, uids: list[str]) -> None:
        data = (CASES / f"{name}.csv").read_bytes()
        assert records(data, "tokens") == [TOKEN | {"uid": uid} for uid in uids]

    def test_null_words(self) -> None:
        r"""Unquoted NULL and \N are to go; what else may mean nothing is a text."""
        found = records((CASES / "null_words.csv").read_bytes(), "tokens")
        assert [row["groupId"] for row in found] == [None, None, None, "N/A", "-"]

    def test_booleans(self) -> None:
        """Three pairs in any case; for the rest they are named, with the row and the value."""
        found = read((CASES / "bool_forms.csv").read_bytes(), "tokens")
        assert [row.data.get("valid") if row.data else None for row in found] == [
            *(True, True, True, True, "WAHR", "VRAI", "ja", "x", "t"),
            *(False, False, False, "FALSCH", None),
        ]
        wrong = [row for row in found if isinstance(row, Unreadable)]
        assert {(row.column, row.reason) for row in wrong} == {
            ("valid", "valid must be true or false, 1 or 0, yes or no, in any case")
        }
        assert [row.line for row in wrong] == [6, 7, 8, 9, 10, 14]

    @pytest.mark.parametrize(
        ("name", "wanted"),
        [
            ("st3", [{"csId": "st3", "securityProfile": 2, "registrationStatus": "Rejected"}]),
            (
                "sp",
                [{"csId": f"cs-sp{number}", "securityProfile": 2} for number in (1, 2, 3, 4)],
            ),
            (
                "num",
                [
                    {"csId": "n1", "securityProfile": 1, "password": "averylongpassword1"},
                    {"csId": "n2", "securityProfile": 2, "password": "averylongpassword2"},
                    {"csId": "n3", "securityProfile": 3},
                ],
            ),
            (
                "authorization_key_hex",
                [
                    {
                        "csId": "p40",
                        "securityProfile": 1,
                        "password": "00112233445566778899aabbccddeeff80fe0a01",
                    }
                ],
            ),
        ],
    )
    def test_stations(self, name: str, wanted: list[dict[str, Any]]) -> None:
        assert records((CASES / f"{name}.csv").read_bytes()) == wanted


class TestDialects:
    """What is between cells and rows, and in which encoding."""

    @pytest.mark.parametrize(
        "data",
        [
            '"csId";"securityProfile";"password"\n"a,b";"1";"x;y"\n',
            '"csId"|"securityProfile"|"password"\n"a,b"|1|"x;y"\n',
            "csId\tsecurityProfile\tpassword\na,b\t1\tx;y\n",
            '"csId","securityProfile","password"\n"a,b","1","x;y"\n',
            "sep=|\ncsId|securityProfile|password\na,b|1|x;y\n",
            '"sep=;"\r\ncsId;securityProfile;password\r\na,b;1;"x;y"\r\n',
            'sep=";"\ncsId;securityProfile;password\na,b;1;"x;y"\n',
            'sep = ;\ncsId;securityProfile;password\na,b;1;"x;y"\n',
            'sep=;;;\ncsId;securityProfile;password\na,b;1;"x;y"\n',
            "sep=\\t\ncsId\tsecurityProfile\tpassword\na,b\t1\tx;y\n",
            'csId, "securityProfile",  "password"\n"a,b", 1,  "x;y"\n',
            '"csId"; "securityProfile"; " Pass Word "\na,b; "1"; "x;y"\n',
            "SEP=^\rcsId^securityProfile^password\ra,b^1^x;y\r",
            'csId;securityProfile;password\ra,b;1;"x;y"',
            '\ncsId,securityProfile,password\r\n\r\r"a,b",1,x;y\n\x1a',
            ',,\n"csId",securityProfile,password\n"a,b",1,x;y\n,,\n\n\x1a\r\n',
            '"csId","security\nProfile",password,"no;te|s; ;\n;;"\n"a,b",1,x;y\n',
        ],
    )
    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le mark", "utf-16-be mark"]
    )
    def test_are_found(self, data: str, encoding: str) -> None:
        """Delimiters by counting outside quotes, or as `sep=` says; any line ends; marks."""
        if encoding.endswith("mark"):
            data, encoding = f"\ufeff{data}", encoding.removesuffix(" mark")
        assert records(data.encode(encoding)) == [
            {"csId": "a,b", "securityProfile": 1, "password": "x;y"}
        ]

    def test_a_column_alone_and_a_header_alone(self) -> None:
        assert records("certificate\nx;y\n", "certificates") == [{"certificate": "x;y"}]
        assert records(HEADER) == records(HEADER.replace(",", ";")[:-1]) == []

    def test_another_encoding_is_told_of_by_row(self) -> None:
        data = HEADER.encode() + "cs1,1,x\ncs\xe9,1,x\ncs3,1,x\n".encode("latin-1")
        assert told(data) == [(2, "cs1"), (3, "is not UTF-8 text"), (4, "cs3")]
        broken = "csId,securityProfile\na,1\n".encode("utf-16") + b"\x00\xd8\n\x00b\x00,\x001\x00"
        assert told(broken) == [(2, "a"), (3, "is not UTF-8 text"), (4, "b")][: len(told(broken))]

    def test_lines_are_right_whatever_ends_them(self) -> None:
        """A record's line is its first."""
        data = HEADER + '"a\nb\n",1,x\n\ncs2,1,x\r"c\r\nd",1,"p\nq"\r\ncs4,1,x\n'
        assert told(data) == [(2, "a\nb"), (6, "cs2"), (7, "c\r\nd"), (10, "cs4")]
        assert told(f"{HEADER}\r\r\ncs5,1,x") == [(4, "cs5")]

    def test_the_same_in_pieces_of_any_size(self) -> None:
        r"""As a pipe gives them: \r\n is one end of a line, also cut in two."""

        class Pieces(io.RawIOBase):
            def __init__(self, data: bytes, size: int) -> None:
                self.data, self.size = data, size

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: bytearray) -> int:  # type: ignore[override] # any buffer
                piece = self.data[: self.size]
                self.data = self.data[self.size :]
                buffer[: len(piece)] = piece
                return len(piece)

        data = f'{HEADER}cs1,1,x\r\n"cs\r\n\u20ac",1,"y""z"\r\ncs3,1,x'.encode("utf-8-sig")
        whole = read(data)
        assert len(whole) == 3
        for size in range(1, 12):
            file = io.BufferedReader(Pieces(data, size))  # type: ignore[type-var] # its stub wants more
            assert list(csv_rows.read(file, "f", Names(STATIONS))) == whole

    def test_a_quote_that_nothing_closes_costs_its_line_only(self) -> None:
        data = HEADER + 'cs1,1,x\n"cs2,1,x\ncs3,1,x\ncs4,1,x\n'
        assert told(data) == [
            (2, "cs1"),
            (3, "a quote is opened here that nothing closes"),
            (4, "cs3"),
            (5, "cs4"),
        ]

    def test_a_cell_may_be_as_long_as_a_record(self) -> None:
        """The csv module's own limit would be 128 KiB."""
        long = "x" * (MAX_RECORD - 100)
        assert told(f'{HEADER}"{long}",1,x\n') == [(2, long)]
        assert told(f"{HEADER}{long},1,x\n") == [(2, long)]

    def test_a_record_that_is_too_long(self) -> None:
        """A line is told from a quote that nothing closes, which makes one of all that follows."""
        lines = "cs4,1,x\n" * (MAX_RECORD // 8)
        too_long, fine, open_, *rest = told(
            HEADER + "x" * MAX_RECORD + ',1,x\ncs2,1,x\n"cs3,1,x\n' + lines
        )
        assert too_long == (2, f"is longer than {MAX_RECORD} bytes")
        assert fine == (3, "cs2")
        assert open_[0] == 4
        assert f"longer than {MAX_RECORD} bytes; is a quote opened" in str(open_[1])
        assert rest == [(5 + number, "cs4") for number in range(MAX_RECORD // 8)]


class TestRows:
    """Rows of another length than the header."""

    def test_missing_and_surplus_cells(self) -> None:
        """Missing ones say nothing, and surplus ones are told of by their row."""
        data = HEADER + 'cs1\ncs3,1,x,y\n"a"b,1,x\ncs5,1,x,,\ncs6,1\n , ,\t\n;\n'
        assert told(data) == [
            (2, "cs1"),
            (3, "has 4 cells, and the header names 3 columns"),
            (4, "a quote within a quoted cell must be doubled"),
            (5, "cs5"),
            (6, "cs6"),
        ]

    @pytest.mark.parametrize("empty", [",,", '"","",""', " ,\u00a0,\u200b", "\t", ""])
    def test_empty_ones_are_skipped(self, empty: str) -> None:
        assert told(f"{HEADER}{empty}\ncs1,1,x\n{empty}\n{empty}") == [(3, "cs1")]


def test_the_cases_are_all_tried() -> None:
    """Each file has a test above."""
    tried = Path(__file__).read_text()
    for path in CASES.glob("*.csv"):
        assert f'"{path.stem}' in tried, path
