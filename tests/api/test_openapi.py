"""The OpenAPI document keeps what the contract has, and says what is served."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import meta

from csms_redis import __version__
from csms_redis.contract.openapi import document
from csms_redis.contract.operations import BASE_PATH
from tests.conftest import DATA, Service

CONTRACT = (DATA / "maeve-csms-api.md").read_text(encoding="utf-8")

OPERATIONS = {
    operation: (method.lower(), path)
    for operation, method, path in re.findall(
        r"^## (\w+)\n\n<a id=\"opId\w+\"></a>\n\n`([A-Z]+) (\S+)`$", CONTRACT, re.MULTILINE
    )
}

ADDITIONS = {
    "checkService",
    "exportCertificates",
    "exportChargeStations",
    "exportTokens",
    "getRules",
    "importCertificates",
    "importChargeStations",
    "importTokens",
    "deleteChargeStation",
    "deleteToken",
    "getChargeStation",
    "getClient",
    "listCertificates",
    "listChargeStations",
    "listRefusedStations",
    "listTokens",
    "listWrites",
    "setChargeStationPassword",
    "setRegistrationStatus",
}
GROUPS: dict[str, str | tuple[str, ...]] = {
    "stations": "/cs",
    "tokens": "/token",
    "certificates": "/certificate",
    "operations": ("/refused", "/audit", "/client", "/rules", "/check"),
    "bulk": "/bulk",
}
CONTRACT_KEYS = {
    "description",
    "operationId",
    "parameters",
    "requestBody",
    "responses",
    "summary",
}


def rows(text: str) -> list[list[str]]:
    """The cells of a Markdown table's rows, the two of its head left out."""
    return [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")][2:]


def section(start: str, end: str) -> str:
    """The contract's text from one heading to the next."""
    return CONTRACT.partition(start)[2].partition(end)[0]


PROPERTIES = {
    (schema, cells[0]): (cells[1], cells[2] == "true")
    for schema in re.findall(r'<h2 id="tocS_(\w+)">', CONTRACT)
    for cells in rows(
        section(f'<h2 id="tocS_{schema}">', "<h2 id=")
        .partition("### Properties")[2]
        .partition("####")[0]
    )
}
ENUMERATED: dict[str, set[str]] = {}
for name, value in rows(section("#### Enumerated Values", "<h2 id=")):
    ENUMERATED.setdefault(name, set()).add(value)


@pytest.fixture(scope="module")
def served(service: Service) -> dict[str, Any]:
    """The document as it is served."""
    reply = service.request("GET", "/api/openapi.json")
    assert reply.status == 200
    read: dict[str, Any] = reply.json
    return read


def schema_of(served: dict[str, Any], schema: str, name: str) -> dict[str, Any]:
    """The schema of a property, that of `null` left out."""
    described: dict[str, Any] = dict(served["components"]["schemas"][schema]["properties"][name])
    for choice in described.pop("anyOf", []):
        if choice != {"type": "null"}:
            described.update(choice)
    return described


def test_the_contract_was_read() -> None:
    """What follows would hold of nothing at all."""
    assert len(OPERATIONS) == 7
    assert len(PROPERTIES) == 17
    assert {name: len(values) for name, values in ENUMERATED.items()} == {"type": 4, "cacheMode": 4}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_keeps_each_operation(served: dict[str, Any], operation: str) -> None:
    method, path = OPERATIONS[operation]

    assert served["paths"][path][method]["operationId"] == operation


@pytest.mark.parametrize("operation", OPERATIONS)
def test_keeps_the_replies_of_each_operation(served: dict[str, Any], operation: str) -> None:
    """Their codes and their schemas."""
    method, path = OPERATIONS[operation]
    table = section(f'<h3 id="{operation.lower()}-responses">', "<aside")

    replies = served["paths"][path][method]["responses"]

    expected = {cells[0]: re.sub(r"\[(\w+)\].*", r"\1", cells[3]) for cells in rows(table)}
    actual = {
        status: reply["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        if "content" in reply
        else "None"
        for status, reply in replies.items()
        if "x-addition" not in reply
    }
    assert actual == expected


@pytest.mark.parametrize("operation", OPERATIONS)
def test_keeps_the_parameters_of_each_operation(served: dict[str, Any], operation: str) -> None:
    method, path = OPERATIONS[operation]
    table = section(f'<h3 id="{operation.lower()}-parameters">', "> Example")

    described = served["paths"][path][method]

    expected = {
        (cells[0], cells[1]): re.sub(r"\[(\w+)\].*", r"\1", cells[2]) for cells in rows(table)
    }
    actual = {
        (parameter["name"], parameter["in"]): parameter["schema"]["type"]
        for parameter in described.get("parameters", [])
    }
    if "requestBody" in described:
        body = described["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        actual["body", "body"] = body.rpartition("/")[2]
    assert actual == expected


@pytest.mark.parametrize(("schema", "name"), PROPERTIES)
def test_keeps_each_property(served: dict[str, Any], schema: str, name: str) -> None:
    """Its type, and whether it is required."""
    of_type, required = PROPERTIES[schema, name]

    described = schema_of(served, schema, name)

    given_format = f"({described['format']})" if "format" in described else ""
    assert described["type"] + given_format == of_type
    assert (name in served["components"]["schemas"][schema]["required"]) == required


@pytest.mark.parametrize("name", ENUMERATED)
def test_keeps_the_enumerated_values(served: dict[str, Any], name: str) -> None:
    assert set(schema_of(served, "Token", name)["enum"]) == ENUMERATED[name]


def test_documents_no_other_operation_but_what_is_marked(served: dict[str, Any]) -> None:
    """What is not marked is the contract's, and what is marked says so to readers too."""
    documented = {
        (method, path): described
        for path, methods in served["paths"].items()
        for method, described in methods.items()
    }
    marked = {key for key, described in documented.items() if "x-addition" in described}

    assert documented.keys() - marked == set(OPERATIONS.values())
    assert {documented[key]["operationId"] for key in marked} == ADDITIONS
    for key in marked:
        assert documented[key]["x-addition"] is True
        assert "An addition:" in documented[key]["description"]
    for key in documented.keys() - marked:
        assert documented[key].keys() <= CONTRACT_KEYS | {"security", "tags"}
    groups = {
        name: {each["tags"][0] for (_, path), each in documented.items() if path.startswith(paths)}
        for name, paths in GROUPS.items()
    }
    assert groups == {name: {name} for name in GROUPS}
    assert [tag["name"] for tag in served["tags"]] == list(GROUPS)


def test_documents_no_other_schema_but_what_is_marked(served: dict[str, Any]) -> None:
    schemas = served["components"]["schemas"]
    marked = {name for name, schema in schemas.items() if schema.get("x-addition")}

    assert schemas.keys() - marked == {schema for schema, _ in PROPERTIES}
    assert marked == {
        *("CertificateSummary", "ChargeStation", "ChargeStationRegistration"),
        *("ChargeStationPassword", "ChargeStationSecurity", "RefusedStation"),
        *("AuditLine", "CallingClient"),
        *("CheckFinding", "ExportedRow", "RowResult", "Rules"),
    }
    for schema in schemas.keys() - marked:
        documented = {(schema, name) for name in schemas[schema]["properties"]}
        others = documented - PROPERTIES.keys()
        assert others <= {("ChargeStationAuth", "invalidUsernameAllowed")}  # of a later MaEVe


def test_no_addition_shows_a_credential(served: dict[str, Any]) -> None:
    for name in ("CertificateSummary", "ChargeStation", "ChargeStationSecurity"):
        assert "base64SHA256Password" not in served["components"]["schemas"][name]["properties"]


def test_a_station_shares_no_property_with_its_auth(served: dict[str, Any]) -> None:
    """Or a gateway could take one for the other, whatever the case of the names."""
    schemas = served["components"]["schemas"]
    names = [
        {name.casefold() for name in schemas[schema]["properties"]}
        for schema in ("ChargeStation", "ChargeStationAuth")
    ]
    assert names[0] & names[1] == set()


def test_pages_are_documented(served: dict[str, Any]) -> None:
    """Each takes a limit and a cursor, and tells of Link, 400 and 410."""
    for path in ("/cs", "/token", "/certificate"):
        described = served["paths"][path]["get"]
        parameters = {parameter["name"]: parameter for parameter in described["parameters"]}
        assert {parameter["in"] for parameter in parameters.values()} == {"query"}
        assert parameters["limit"]["schema"] == {
            "type": "integer",
            "default": 20,
            "minimum": 1,
            "maximum": 100,
        }
        assert {"limit", "cursor"} < parameters.keys()
        assert {"200", "400", "410", "default"} <= described["responses"].keys()
        assert "Link" in described["responses"]["200"]["headers"]


def test_credentials_are_an_addition_and_optional(served: dict[str, Any]) -> None:
    """Basic or Bearer for each operation, and what a refusal says."""
    assert served["components"]["securitySchemes"].keys() == {"basic", "bearer"}
    for methods in served["paths"].values():
        for described in methods.values():
            assert described["security"] == [{}, {"basic": []}, {"bearer": []}]
            for status in ("401", "403", "429"):
                assert described["responses"][status]["x-addition"] is True


def test_is_the_document_that_the_command_prints(served: dict[str, Any]) -> None:
    assert served == document(__version__)


def test_every_documented_operation_is_routed(served: dict[str, Any], service: Service) -> None:
    """A path that is not would be answered 405, or 404 without a record's name."""
    for path, methods in served["paths"].items():
        for method in methods:
            target = re.sub(r"\{\w+\}", "unheard-of", f"{BASE_PATH}{path}")
            reply = service.request(method.upper(), target)

            if methods[method].get("x-addition") and not re.search(r"{", path):
                assert reply.status == 200
                answered = methods[method]["responses"]["200"]["content"]
                assert reply.headers["Content-Type"].partition(";")[0] in answered
                continue
            assert "There is no such path" not in reply.error
            assert reply.status in {400, 404}


def test_every_method_that_is_routed_is_documented(
    served: dict[str, Any], service: Service
) -> None:
    """As `Allow` names them; HEAD comes with GET."""
    for path, methods in served["paths"].items():
        target = re.sub(r"\{\w+\}", "unheard-of", f"{BASE_PATH}{path}")
        reply = service.request("OPTIONS", target)

        expected = {method.upper() for method in methods}
        assert set(reply.headers["Allow"].split(", ")) - {"HEAD"} == expected


def test_its_schemas_are_json_schemas(served: dict[str, Any]) -> None:
    """Of the dialect that OpenAPI 3.1 builds on."""
    assert served["openapi"].startswith("3.1.")
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    for schema in served["components"]["schemas"].values():
        meta.validate(dialect | schema)


def test_every_reference_leads_somewhere(served: dict[str, Any]) -> None:
    text = json.dumps(served)
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', text))

    assert referred == set(served["components"]["schemas"])
    assert text.count('"$ref"') == len(re.findall(r'"#/components/schemas/\w+"', text))


def test_its_server_is_relative(served: dict[str, Any]) -> None:
    """So that "Try it out" works wherever it is served."""
    assert served["servers"] == [{"url": "/api/v0"}]


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/docs", "text/html"),
        ("/docs/start.js", "text/javascript"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/swagger-ui.css", "text/css"),
        ("/docs/favicon-32x32.png", "image/png"),
    ],
)
def test_the_page_and_all_it_needs_is_served(
    service: Service, path: str, content_type: str
) -> None:
    reply = service.request("GET", path)

    assert (reply.status, reply.headers["Content-Type"]) == (200, content_type)
    assert "default-src 'self'" in reply.headers["Content-Security-Policy"]


def test_the_page_names_no_other_host(service: Service) -> None:
    for path in ("/docs", "/docs/start.js"):
        page = service.request("GET", path).body.decode()

        assert re.findall(r"(?:https?:)?//\w+", page) == []
        for source in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert service.request("GET", source).status == 200


def test_the_contract_here_is_the_published_one() -> None:
    """Nobody changed it to please a test: it is generated, and says so."""
    assert "<!-- Generator: Widdershins" in CONTRACT
    assert Path(DATA / "maeve-csms-api.md").stat().st_size > 10_000
