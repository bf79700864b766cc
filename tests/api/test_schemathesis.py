"""schemathesis over the document that is served: what it promises is what the service does.

Every check is on. Some values are of a form that JSON Schema cannot describe; where a request is
to be valid they get one that is: `certificate` a PEM, `contractId` an eMAID with its own check
digit or a text that is no eMAID, `cursor` one that a page has given. (So even the check of positive
data holds for them.)
"""

import json
import random
import re
import zlib
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case, GenerationMode, HookContext, SerializationContext

from csms_redis import __version__
from csms_redis.contract.emaid import check_digit
from csms_redis.contract.openapi import document
from csms_redis.contract.operations import BASE_PATH
from tests.conftest import DATA, Service

PEMS = [path.read_text(encoding="ascii") for path in sorted(DATA.glob("certificates/*.pem"))]
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# A test shows that this is what is served.
schema = schemathesis.openapi.from_dict(document(__version__))
# A text far too long is refused for the size of the whole body.
rejection = schema.config.checks.negative_data_rejection
rejection.expected_statuses = [*rejection.expected_statuses, "413"]
seen: Counter[tuple[str, str]] = Counter()


def certificate(chooser: random.Random) -> str:
    """A PEM: with or without a chain and the text around it, its newlines in any spelling."""
    pem = chooser.choice(PEMS)
    if chooser.random() < 0.5:
        start = pem.index("-----BEGIN")
        end = pem.index("-----END")
        pem = f"{pem[start:end]}-----END CERTIFICATE-----"
    return pem.replace("\n", chooser.choice(["\n", "\r\n", "\\n"]))


def contract_id(chooser: random.Random) -> str:
    """An eMAID with the check digit that is right or without one, or free text."""
    if chooser.random() < 0.3:
        return "".join(chooser.choices("abc 123-/\u00e9\U0001f50c", k=chooser.randint(1, 13)))
    country = "".join(chooser.choices(CHARACTERS[10:], k=2))
    provider, instance = ("".join(chooser.choices(CHARACTERS, k=size)) for size in (3, 9))
    digit = chooser.choice(["", check_digit(f"{country}{provider}{instance}")])
    hyphen = chooser.choice(["", "-"])
    emaid = hyphen.join(part for part in (country, provider, instance, digit) if part)
    return chooser.choice([emaid, emaid.lower()])


GENERATORS = {"certificate": certificate, "contractId": contract_id}


@schemathesis.serializer("application/jsonl")
def lines(context: SerializationContext, value: object) -> bytes | None:
    """Rows as they are sent: whatever is given, and each element of a list in a line."""
    del context
    rows = value if isinstance(value, list) else [value]
    return "\n".join(map(json.dumps, rows)).encode()


@schema.hook
def map_case(context: HookContext, case: "Case[Any]") -> "Case[Any]":
    """Give a request that is to be valid what JSON Schema could not ask for."""
    del context
    positive = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    if positive and isinstance(case.body, dict):
        chooser = random.Random(zlib.crc32(repr(case.body).encode(errors="replace")))
        given = {name: GENERATORS[name](chooser) for name in GENERATORS if name in case.body}
        case.body = {**case.body, **given}
    if positive and case.query:
        chooser = random.Random(zlib.crc32(repr(case.query).encode(errors="replace")))
        if "contractId" in case.query:
            case.query["contractId"] = contract_id(chooser)
        if "cursor" in case.query:
            case.query = dict(cursors.get(case.path, {}))
    return case


cursors: dict[str, dict[str, str]] = {}
"""By path, the query of a second page."""


def note_next_page(case: "Case[Any]", link: str) -> None:
    """Keep what leads to another page."""
    target = re.fullmatch(r'<(\S+)>; rel="next"', link)
    assert target
    cursors[case.path] = dict(parse_qsl(target[1].partition("?")[2], keep_blank_values=True))


@schema.parametrize()
@settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
def test_the_service_does_what_the_document_says(case: "Case[Any]", service: Service) -> None:
    reply = case.call_and_validate(base_url=f"{service.url}{BASE_PATH}")

    for link in reply.headers.get("link", []):
        note_next_page(case, link)
    seen[str(case.operation.definition.raw["operationId"]), f"{reply.status_code}"] += 1


def test_it_was_not_all_refused() -> None:
    """Each write was accepted many times, and refused many times."""
    if not seen:
        pytest.skip("counts what the tests before it saw")
    for operation in ("registerChargeStation", "setToken", "uploadCertificate"):
        assert seen[operation, "201"] > 10
        assert seen[operation, "400"] > 10
    assert seen["deleteCertificate", "404"] > 0
    for operation in ("listChargeStations", "listTokens", "listCertificates"):
        assert seen[operation, "200"] > 10
        assert seen[operation, "400"] > 10
    assert seen["getChargeStation", "404"] > 10
    assert seen["setChargeStationPassword", "404"] > 10
    assert seen["setChargeStationPassword", "400"] > 10
    assert seen["setRegistrationStatus", "404"] > 10
    assert seen["setRegistrationStatus", "400"] > 10
    assert seen["deleteToken", "404"] > 10
    assert cursors
