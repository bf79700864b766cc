"""The names of columns and properties: which are known, and what a wrong one ends."""

import io

import pytest

from csms_redis.fleet import csv_rows
from csms_redis.fleet.failure import UnusableSource
from csms_redis.fleet.names import Names
from csms_redis.fleet.rows import MAX_RECORD, Row, Unreadable
from csms_redis.rows.kinds import KINDS
from tests.support.csv_files import STATIONS, TOKEN, TOKENS, read, records


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

    def test_a_column_without_a_name_is_told_of(self) -> None:
        """As an index before the others; but not empty ones after them."""
        names = Names(STATIONS)
        data = b',csId,"",securityProfile,,\n0,a,x,1,,\n1,b,,2,,\n2,c,,2,,z\n'
        *rows, last = csv_rows.read(io.BytesIO(data), "f", names)
        assert [row.data for row in rows if isinstance(row, Row)] == [
            {"csId": "a", "securityProfile": 1},
            {"csId": "b", "securityProfile": 2},
        ]
        assert names.unknown == {"column 1 (without a name)": 1, "column 3 (without a name)": 1}
        assert isinstance(last, Unreadable)
        assert last.reason == "has 6 cells, and the header names 4 columns"

    @pytest.mark.parametrize("password", ["passw0rd", "passwort", "Status", "secret"])
    def test_a_file_without_a_header_shows_no_value(self, password: str) -> None:
        with pytest.raises(UnusableSource) as caught:
            read(f"cs1,1,{password}\n")
        assert password not in str(caught.value).partition("there may be")[0]
        assert "must name the columns" in str(caught.value)

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
            ("lang", "languageCode", "tokens"),
            ("visual_no", "visualNumber", "tokens"),
            ("VisualNr", "visualNumber", "tokens"),
            ("reg_status", "registrationStatus", "stations"),
            ("base64password", "base64SHA256Password", "stations"),
            ("invalidUser", "invalidUsernameAllowed", "stations"),
            ("auth-key", "authorizationKey", "stations"),
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
            ("region", [], "stations"),
            ("author", [], "stations"),
            ("passage", [], "stations"),
            ("online_status", [], "stations"),
            ("last_used", [], "tokens"),
            ("visit", [], "tokens"),
            ("group_name", [], "tokens"),
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
