"""What is read from files of every format, and what of any other bytes."""

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csms_redis.contract.errors import BadRequest
from csms_redis.fleet import csv_rows, json_rows, pem_rows
from csms_redis.fleet.failure import UnusableSource
from csms_redis.fleet.names import Names
from csms_redis.fleet.rows import MAX_RECORD, Row, Unreadable
from csms_redis.rows.kinds import KINDS
from csms_redis.settings import ApiSettings
from tests.support.ocpi import TOKEN

Read: TypeAlias = Callable[[BinaryIO], Iterator[Row | Unreadable]]
STATIONS = KINDS["stations"]
READERS: dict[str, Read] = {
    "csv": lambda file: csv_rows.read(file, "f", Names(STATIONS)),
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
                row.data, api=ApiSettings(), prefix=b"", now=b'"now"', whole=True
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
        lines = data.count(b"\n") + data.count(b"\r") + 1
        try:
            rows = read(format_, data)
        except UnusableSource:
            return  # test_csv has what is told of it
        for row in rows:
            assert 1 <= row.line <= lines
            for kind in KINDS.values():
                if isinstance(row, Row):
                    kind.without_secrets(row.data)
        if format_ == "ocpi":
            return
        for row in rows:
            if isinstance(row, Row):
                with contextlib.suppress(BadRequest):
                    STATIONS.check(row.data, api=ApiSettings(), prefix=b"", now=b"", whole=False)

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
