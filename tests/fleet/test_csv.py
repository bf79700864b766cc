"""CSV as spreadsheets and databases write it: what each cell and each header means."""

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from csms_redis.contract.blanks import BLANKS
from csms_redis.fleet import csv_rows
from csms_redis.fleet.cells import read_cell, write_cell
from csms_redis.fleet.failure import UnusableSource
from csms_redis.fleet.formats import Format
from csms_redis.fleet.kinds import KINDS
from csms_redis.fleet.names import Names
from csms_redis.fleet.rows import MAX_RECORD, Row, Unreadable
from csms_redis.fleet.writers import open_writer
from tests.conftest import DATA

CASES = DATA / "imports"
STATIONS, TOKENS = KINDS["stations"], KINDS["tokens"]
HEADER = "csId,securityProfile,password\n"
TOKEN = {
    "countryCode": "DE",
    "partyId": "ABC",
    "type": "RFID",
    "contractId": "CON-1",
    "issuer": "Acme",
    "valid": True,
    "cacheMode": "ALWAYS",
}


def read(data: str | bytes, kind: str = "stations") -> list[Row | Unreadable]:
    """All that is found in a file."""
    if isinstance(data, str):
        data = data.encode()
    return list(csv_rows.read(io.BytesIO(data), "f", Names(KINDS[kind])))


def records(data: str | bytes, kind: str = "stations") -> list[dict[str, Any]]:
    """The rows of a file in which all can be read."""
    rows = read(data, kind)
    assert all(isinstance(row, Row) for row in rows), rows
    return [row.data for row in rows if isinstance(row, Row)]


def told(data: str | bytes) -> list[tuple[int, object]]:
    """Lines, with the id of what is there or the reason why nothing is."""
    return [
        (row.line, row.reason if isinstance(row, Unreadable) else row.data.get("csId"))
        for row in read(data)
    ]


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

    @pytest.mark.parametrize("id_", ["4.65E+12", "4,65E+12", "1e+9", "04E+1", '="4.65E+12"'])
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

    @pytest.mark.parametrize("id_", ["465E12", "12345E+1A", "'4.65E+12", "E+12"])
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


class TestHeader:
    """What names the columns: if it is wrong the file is, and not a row."""

    @pytest.mark.parametrize(
        "names",
        [
            "csId,securityProfile,registrationStatus",
            "cs_id,security_profile,registration_status",
            "CS ID,SECURITY-PROFILE,Registration Status",
            "\u00a0CsId ,securityprofile,REGISTRATIONSTATUS",
            '\'csId,"=""securityProfile""",registrationStatus,',
        ],
    )
    def test_spellings(self, names: str) -> None:
        assert records(f"{names}\ncs1,2,Rejected\n") == [
            {"csId": "cs1", "securityProfile": 2, "registrationStatus": "Rejected"}
        ]

    def test_names_of_ocpi(self) -> None:
        """Those of 2.2.1 and 2.1.1; what has no place here is left out without a word."""
        names = Names(TOKENS)
        data = (
            "country_code;party_id;type;uid;auth_id;visual_number;issuer;group_id;valid;language;"
            "whitelist;last_updated;energy_contract\n"
            "DE;ABC;RFID;U1;CON-1;1;Acme;G;1;de;ALWAYS;2026-01-01T00:00:00Z;x\n"
        )
        (row,) = csv_rows.read(io.BytesIO(data.encode()), "f", names)
        assert isinstance(row, Row)
        assert row.data == TOKEN | {
            "uid": "U1",
            "visualNumber": "1",
            "groupId": "G",
            "languageCode": "de",
            "lastUpdated": "2026-01-01T00:00:00Z",
        }
        assert names.unknown == {}

    def test_unknown_columns_are_named_once(self) -> None:
        names = Names(STATIONS)
        data = b"csId,Vendor,securityProfile,id\na,x,1,7\nb,x,1,8\n"
        assert len(list(csv_rows.read(io.BytesIO(data), "f", names))) == 2
        assert names.unknown == {"Vendor": 1, "id": 1}

    @pytest.mark.parametrize(
        ("name", "meant", "kind"),
        [
            ("passwort", "password", "stations"),
            ("registrationstate", "registrationStatus", "stations"),
            ("Status", "registrationStatus", "stations"),
            ("pass_word1", "password", "stations"),
            ("base64_sha256_passwd", "base64SHA256Password", "stations"),
            ("invalid_user_name_allowed", "invalidUsernameAllowed", "stations"),
            ("authorisationKey", "authorizationKey", "stations"),
            ("lastUpdate", "lastUpdated", "stations"),
            ("groupIds", "groupId", "tokens"),
            ("group", "groupId", "tokens"),
            ("visual_no_number", "visualNumber", "tokens"),
            ("langauge", "languageCode", "tokens"),
        ],
    )
    def test_one_that_nearly_is_known(self, name: str, meant: str, kind: str) -> None:
        """It stops the import, and says which was meant."""
        required = ",".join(KINDS[kind].required)
        if name.replace("_", "").lower() == meant.lower():
            assert list(Names(KINDS[kind]).of_header([*KINDS[kind].required, name], 1))[-1] == meant
            return
        with pytest.raises(UnusableSource) as caught:
            read(f"{required},{name}\nhunter2,1\n", kind)
        assert f"line 1: '{name}' is not known; is {meant} meant?" in str(caught.value)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "beside", "kind"),
        [
            ("passwort", ["password"], "stations"),
            ("uuid", [], "tokens"),
            ("valid_to", [], "tokens"),
            ("issued", [], "tokens"),
            ("state", ["registrationStatus"], "stations"),
            ("remarks", [], "stations"),
            ("country", [], "tokens"),
        ],
    )
    def test_one_that_is_something_else(self, name: str, beside: list[str], kind: str) -> None:
        """As where the known one is there as well."""
        names = Names(KINDS[kind])
        assert names.of_header([*KINDS[kind].required, *beside, name], 1)[-1] == name
        assert names.unknown == {name: 1}

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "the file is empty"),
            (b"\n,,\n\xef\xbb\xbf", "the file is empty"),
            (b"sep=;\n", "the file is empty"),
            (
                b"cs1,1,hunter2\n",
                "line 1: the first line must name the columns, and there is none ",
            ),
            (b"\ncs1,1,hunter2\n", "line 2: the first line must name the columns"),
            (b"csId,securityProfile,csId\nx,1,y\n", "line 1: two columns are csId"),
            (b"csId,securityProfile,CS-ID\nx,1,y\n", "line 1: two columns are csId"),
            ("csId,securityProfile\nx,1\n".encode("utf-16-le"), "NUL bytes; save the file as"),
            ("csId,securityProfile\nx,1\n".encode("utf-32"), "NUL bytes; save the file as"),
            (b"csId,\xff,securityProfile", "is not UTF-8 text"),
            (b'csId,"securityProfile\n', "a quote is opened here that nothing closes"),
            (b"x" * (MAX_RECORD + 1), f"line 1: is longer than {MAX_RECORD} bytes"),
        ],
    )
    def test_a_wrong_one(self, data: bytes, reason: str) -> None:
        """Nothing of the file is read, and nothing of it is told but names that are known."""
        with pytest.raises(UnusableSource) as caught:
            read(data)
        assert reason in str(caught.value)
        assert "hunter2" not in str(caught.value)


class TestObjects:
    """Properties of JSON: the same names."""

    def test_are_known_in_any_spelling(self) -> None:
        names = Names(STATIONS)
        data = {"CS_ID": "a", "auth": {"security_profile": 1, "extra": 1}, "Vendor": "x"}
        assert names.of_object(data, 7) == {
            "csId": "a",
            "auth": {"securityProfile": 1, "extra": 1},
            "Vendor": "x",
        }
        assert names.unknown == {"Vendor": 7, "extra": 7}

    def test_one_that_nearly_is_known(self) -> None:
        for data in (
            {"csId": "a", "passwort": "hunter2"},
            {"csId": "a", "auth": {"securityProfile": 1, "passwort": "hunter2"}},
        ):
            with pytest.raises(UnusableSource, match="line 3: 'passwort' is not known; is passwor"):
                Names(STATIONS).of_object(data, 3)


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


def test_the_cases_are_all_tried() -> None:
    """Each file has a test above."""
    tried = Path(__file__).read_text()
    for path in CASES.glob("*.csv"):
        assert f'"{path.stem}' in tried, path
