"""What is read from files of every format, and what of any other bytes."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeAlias

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from csms_redis.contract.errors import BadRequest
from csms_redis.fleet import csv_rows, json_rows, pem_rows
from csms_redis.fleet.csv_rows import read_cell, write_cell
from csms_redis.fleet.kinds import KINDS
from csms_redis.fleet.rows import MAX_RECORD, Row, Unreadable
from csms_redis.settings import ApiSettings
from tests.support.ocpi import TOKEN

Read: TypeAlias = Callable[[BinaryIO], Iterator[Row | Unreadable]]
STATIONS = KINDS["stations"]
READERS: dict[str, Read] = {
    "csv": lambda file: csv_rows.read(file, "f", STATIONS),
    "jsonl": lambda file: json_rows.read_lines(file, "f"),
    "ocpi": lambda file: json_rows.read_ocpi(file, "f"),
    "pem": lambda file: pem_rows.read(file, "f"),
}
HEADER = b"csId,securityProfile,password\n"


def read(format_: str, data: bytes) -> list[Row | Unreadable]:
    """All that a reader finds."""
    return list(READERS[format_](io.BytesIO(data)))


def told(format_: str, data: bytes) -> list[tuple[int, object]]:
    """Lines, with the id of what is there or the reason why nothing is."""
    return [
        (row.line, row.reason if isinstance(row, Unreadable) else row.data.get("csId"))
        for row in read(format_, data)
    ]


class TestCsv:
    """CSV files of operators and their spreadsheets."""

    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("delimiter", [b",", b";", b"\t"])
    def test_spellings(self, end: bytes, mark: bytes, delimiter: bytes) -> None:
        """With and without a mark, with any line end and delimiter, it is the same."""
        lines = [b"csId,securityProfile,invalidUsernameAllowed,password", b'"a,b",1,TRUE,p', b""]
        data = mark + end.join(lines).replace(b",", delimiter).replace(b"a" + delimiter, b"a,")
        assert read("csv", data) == [
            Row(
                "f",
                2,
                {
                    "csId": "a,b",
                    "securityProfile": 1,
                    "invalidUsernameAllowed": True,
                    "password": "p",
                },
            )
        ]

    def test_lines_are_right_after_cells_of_several_lines(self) -> None:
        """A record's line is its first."""
        data = HEADER + b'"a\nb\n",1,x\n\ncs2,1,x\n"c\r\nd",1,"p\nq"\ncs4,1,x\n'
        assert told("csv", data) == [(2, "a\nb\n"), (6, "cs2"), (7, "c\r\nd"), (10, "cs4")]

    def test_a_quote_that_nothing_closes_costs_its_line_only(self) -> None:
        data = HEADER + b'cs1,1,x\n"cs2,1,x\ncs3,1,x\ncs4,1,x\n'
        assert told("csv", data) == [
            (2, "cs1"),
            (3, "a quote is opened here that nothing closes"),
            (4, "cs3"),
            (5, "cs4"),
        ]

    def test_a_cell_may_be_as_long_as_a_record(self) -> None:
        """The csv module's own limit would be 128 KiB."""
        long = "x" * (MAX_RECORD - 100)
        assert told("csv", HEADER + f'"{long}",1,x\n'.encode()) == [(2, long)]

    def test_a_record_that_is_too_long(self) -> None:
        """A line is told from a quote that nothing closes, which makes one of all that follows."""
        lines = b"cs4,1,x\n" * (MAX_RECORD // 8)
        data = HEADER + b"x" * MAX_RECORD + b',1,x\ncs2,1,x\n"cs3,1,x\n' + lines
        too_long, fine, open_, *rest = told("csv", data)
        assert too_long == (2, f"is longer than {MAX_RECORD} bytes")
        assert fine == (3, "cs2")
        assert open_[0] == 4
        assert f"longer than {MAX_RECORD} bytes; is a quote opened" in str(open_[1])
        assert rest == [(5 + number, "cs4") for number in range(MAX_RECORD // 8)]

    def test_cut_off_rows_and_wrong_bytes(self) -> None:
        """Each is told by its line, and nothing of it is."""
        data = HEADER + b'cs1\ncs2,1,\xff\ncs3,1,x,y\n"a"b,1,x\ncs5,1,x,,\ncs6,1'
        assert told("csv", data) == [
            (2, "has 1 of 3 columns"),
            (3, "is not UTF-8 text"),
            (4, "has more than 3 columns"),
            (5, "a quote within a quoted cell must be doubled"),
            (6, "cs5"),
            (7, "has 2 of 3 columns"),
        ]

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "the file is empty"),
            (b"cs1,1,hunter2\n", "there is none called csId"),
            (b"csId,securityProfile,csId\nx,1,y\n", "two columns have the same name"),
            ("csId,securityProfile\nx,1\n".encode("utf-16"), "the file is UTF-16"),
            (b"\x00\xff\xfe\x01", "is not UTF-8 text"),
        ],
    )
    def test_no_header(self, data: bytes, reason: str) -> None:
        """The whole file is refused once."""
        (found,) = read("csv", data)
        assert isinstance(found, Unreadable)
        assert reason in found.reason
        assert "hunter2" not in found.reason

    @given(st.text())
    @example("=1+1")
    @example("'")
    @example("''")
    @example("'=x")
    @example("")
    def test_a_cell_is_no_formula_and_comes_back(self, text: str) -> None:
        cell = write_cell(text)
        assert read_cell(cell) == text
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell

    def test_apostrophes_of_others_stay(self) -> None:
        assert read_cell("'t Hof") == "'t Hof"


class TestOcpi:
    """Lists of tokens as OCPI 2.2.1 has them."""

    @pytest.mark.parametrize("indent", [None, 2])
    @pytest.mark.parametrize("envelope", [False, True])
    def test_a_list(self, indent: int | None, envelope: bool) -> None:  # noqa: FBT001 a table
        """Bare or in a reply; names become the contract's."""
        tokens = [TOKEN | {"type": "OTHER"}] * 3  # no doubt about the uid of a card
        reply = {"status_code": 1000, "data": tokens, "timestamp": "2015-06-30T21:59:59Z"}
        data = json.dumps(reply if envelope else tokens, indent=indent).encode()
        rows = read("ocpi", data)
        assert [type(row) for row in rows] == [Row] * 3
        for row in rows:
            assert isinstance(row, Row)
            checked = KINDS["tokens"].check(
                row.data, api=ApiSettings(strict=True), prefix=b"", now=b'"now"'
            )
            assert checked.record.key == b"token:012345678"
            assert checked.record.fields[b"cacheMode"] == b'"ALWAYS"'
            assert checked.record.fields[b"lastUpdated"] == b'"2015-06-29T22:39:09Z"'

    def test_lines(self) -> None:
        """What is no object is told by its line; the rest goes on."""
        data = b'[\n{"uid": "a\\nb"},\n3,\n{"uid":\n"c"}\n,{"uid":"\xff"}]'
        found = read("ocpi", data)
        assert [(row.line, isinstance(row, Row)) for row in found] == [
            (2, True),
            (3, False),
            (4, True),
            (6, True),
        ]

    @pytest.mark.parametrize(
        ("data", "line"),
        [
            (b"", 1),
            (b'[{"uid":"a"},\n{"uid":', 2),
            (b'{"status_code":2001}', 1),
            (b'[{"uid":"a"}]\nx', 2),
            (b"[" * 100_000, 1),
            (b"[NaN]", 1),
            (b"[" + b"9" * 100_000 + b"]", 1),
        ],
    )
    def test_broken(self, data: bytes, line: int) -> None:
        """Where it cannot be read on is told once, as the last."""
        *_, last = read("ocpi", data)
        assert isinstance(last, Unreadable)
        assert last.line == line


class TestAnything:
    """No input is too odd."""

    @pytest.mark.parametrize("format_", READERS)
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(
        data=st.one_of(
            st.binary(),
            st.text(alphabet='csId,"\n\r;\t{}[]:1\\u\ufeff\ud7ff\x00').map(str.encode),
            st.lists(
                st.sampled_from(
                    [HEADER, b'"', b"\n", b"cs1,1,x\n", b"[", b"{", b'"data":', b"]", b",", b"\xff"]
                )
            ).map(b"".join),
        )
    )
    def test_is_read_without_failing(self, format_: str, data: bytes) -> None:
        """Rows or reasons, and lines that are there; then each row is checked or refused."""
        lines = data.count(b"\n") + 1
        for row in read(format_, data):
            assert 1 <= row.line <= lines
            for kind in KINDS.values():
                if isinstance(row, Row):
                    kind.without_secrets(row.data)
        if format_ == "ocpi":
            return
        for row in read(format_, data):
            if isinstance(row, Row):
                with contextlib.suppress(BadRequest):
                    STATIONS.check(row.data, api=ApiSettings(), prefix=b"", now=b"")

    @pytest.mark.parametrize("format_", ["csv", "jsonl", "ocpi"])
    def test_a_line_of_any_length_takes_no_memory(self, format_: str) -> None:
        """It is skipped, and what follows is read."""

        class Huge(io.RawIOBase):
            """2 GB would take too long; what is held at once is what counts."""

            def __init__(self) -> None:
                self.left = 40 * MAX_RECORD
                self.asked = 0

            def readable(self) -> bool:
                return True

            def readinto(self, buffer: bytearray) -> int:  # type: ignore[override] # any buffer
                size = min(len(buffer), self.left, 2**16)
                self.left -= size
                buffer[:size] = b"x" * size
                return size

        start = {"csv": HEADER + b'"', "jsonl": b"", "ocpi": b'[{"uid":"'}[format_]
        huge = Huge()
        chain = _Chain(io.BytesIO(start), huge, io.BytesIO(b"\ncs9,1,p\n"))
        chained = io.BufferedReader(chain)  # type: ignore[type-var] # its stub wants more
        rows = list(READERS[format_](chained))
        first = rows[0]
        assert isinstance(first, Unreadable)
        assert str(MAX_RECORD) in first.reason
        if format_ == "csv":
            assert [(row.line, type(row)) for row in rows] == [(2, Unreadable), (3, Row)]
        if format_ == "ocpi":
            assert huge.left > 30 * MAX_RECORD  # it is not read on


class _Chain(io.RawIOBase):
    """Files one after another."""

    def __init__(self, *files: io.IOBase) -> None:
        self._files = [*files]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override] # any buffer
        while self._files:
            size = self._files[0].readinto(buffer)  # type: ignore[attr-defined] # both have it
            if size:
                return int(size)
            self._files.pop(0)
        return 0
