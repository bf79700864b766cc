"""The OpenAPI 3.1 document, made from the operations and models that serve."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from csms_redis.contract.doubts import DOUBTS_HEADER
from csms_redis.contract.models import ADDITION, Status
from csms_redis.contract.operations import BASE_PATH, OPERATIONS, Operation, Parameter
from csms_redis.contract.queries import QueryString

_JSON = "application/json"
_LINES = "application/jsonl"
_OPERATIONS = ("operations", "What an operator looks at")
_TAGS = {
    "cs": ("stations", "Charge stations, and what they prove themselves with"),
    "token": ("tokens", "Authorization tokens: who may charge"),
    "certificate": ("certificates", "Client certificates of charge stations"),
    "refused": _OPERATIONS,
    "audit": _OPERATIONS,
    "client": _OPERATIONS,
    "rules": _OPERATIONS,
    "check": _OPERATIONS,
    "bulk": ("bulk", "Many records at once, as JSON Lines"),
}
"""The group of an operation by the first segment of its path, and what the group is."""

_PAGES = (
    "A page has a `Link` to the next one (RFC 8288) unless it is the last. Each record that is "
    "there from the first page to the last is on one of them; it may be on two."
)
_SECURITY_SCHEMES = {
    "basic": {"type": "http", "scheme": "basic", "description": "A client's name and secret"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "A client's secret"},
}
# none are needed while [auth] names no clients
_SECURITY: list[dict[str, list[str]]] = [{}, {"basic": []}, {"bearer": []}]
_REFUSALS = {
    "401": "Credentials are missing or wrong (only where the service has clients)",
    "403": "The client has not the role that this needs, or a browser's write has no "
    "`X-Requested-By`",
    "429": "Too many wrong credentials came from this address",
}
_IS_ADDITION = "An addition: MaEVe's own API does not have it."


def document(version: str) -> dict[str, Any]:
    """The document, ready for JSON.

    Args:
        version: of this service; the contract calls itself v0.0.0.
    """
    paths: dict[str, dict[str, Any]] = {}
    tags = dict(_TAGS.values())
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "csms-redis, the charge station registry",
            "version": version,
            "description": "The internal API of the MaEVe CSMS, which gateways and the CSMS core "
            "call, and additions to it for operators. External clients should use OCPI.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": BASE_PATH}],
        "tags": [{"name": name, "description": said} for name, said in tags.items()],
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _SECURITY_SCHEMES},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    texts = [operation.description]
    marks: dict[str, Any] = {}
    if operation.has_pages:
        texts.append(_PAGES)
    if operation.addition:
        texts.append(_IS_ADDITION)
        marks = {**ADDITION}
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [_TAGS[operation.path.split("/")[1]][0]],
        "summary": operation.summary,
        "description": "\n\n".join(texts),
    }
    if operation.parameter:
        described["parameters"] = [_path_parameter(operation.parameter)]
    if operation.query:
        described["parameters"] = _query_parameters(operation.query)
    if operation.request:
        described["requestBody"] = {"required": True, "content": _content(operation.request)}
    if operation.takes_lines:
        rows: dict[str, Any] = {_LINES: {"schema": {}}}  # each line is looked at by itself
        described["requestBody"] = {"required": False, "content": rows}
    described["security"] = _SECURITY
    return described | marks | {"responses": _responses(operation)}


def _path_parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "path",
        "required": True,
        "description": parameter.description,
        "schema": {"type": "string", "pattern": parameter.pattern},
        "example": parameter.example,
    }


def _query_parameters(query: type[QueryString]) -> list[dict[str, Any]]:
    described = query.model_json_schema()
    _leave_out(described)
    parameters = []
    for name, schema in described["properties"].items():
        # what is left out is absent, never null
        choices: list[dict[str, Any]] = schema.pop("anyOf", [{}])
        description = schema.pop("description")
        parameters.append(
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": schema | choices[0],
            }
        )
    return parameters


def _responses(operation: Operation) -> dict[str, Any]:
    success = _response(operation.answer, operation.response)
    responses: dict[str, Any] = {str(int(operation.status)): success}
    if operation.lines:
        success["content"] = {_LINES: success["content"][_JSON]}
    if operation.is_list:
        content = success["content"][_JSON]
        content["schema"] = {"type": "array", "items": content["schema"]}
    if operation.query:
        responses["400"] = _response("A parameter is wrong, or the cursor is none", Status)
    if operation.has_pages:
        success["headers"] = {
            "Link": {
                "description": 'The next page, if there is one: `<…>; rel="next"`',
                "schema": {"type": "string"},
            }
        }
        responses["410"] = _response(
            "What the cursor goes on from is no more, as after a failover: start again", Status
        )
    if operation.tells_doubts:
        success["headers"] = {
            DOUBTS_HEADER: {
                "description": "What is doubtful about the record: names, as in the log",
                "schema": {"type": "string"},
            }
        }
    if operation.not_found:
        responses["404"] = _response(operation.not_found, Status)
    if operation.status == HTTPStatus.CREATED:
        responses["409"] = (
            _response("Where the record would be stored, Redis holds something else", Status)
            | ADDITION
        )
    for status, meaning in _REFUSALS.items():
        responses[status] = _response(meaning, Status) | ADDITION
    responses["default"] = _response("Unexpected error", Status)
    return responses


def _response(description: str, model: type[BaseModel] | None) -> dict[str, Any]:
    return {"description": description} | ({"content": _content(model)} if model else {})


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {_JSON: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


def _schemas() -> dict[str, Any]:
    served = {
        model for operation in OPERATIONS for model in (operation.request, operation.response)
    }
    models = sorted((served - {None}) | {Status}, key=lambda model: model.__name__ if model else "")
    _, schema = models_json_schema(
        [(model, "validation") for model in models if model],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = schema["$defs"]
    for described in schemas.values():
        _leave_out(described)
    return schemas


def _leave_out(described: dict[str, Any]) -> None:
    """Leave out what pydantic adds: titles, and that what is absent is null."""
    described.pop("title")
    for described_property in described["properties"].values():
        described_property.pop("title", None)  # one that is a model has none
        if described_property.get("default", ...) is None:
            described_property.pop("default")
