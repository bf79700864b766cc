"""The OpenAPI 3.1 document, made from the operations and models that serve."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from csms_redis.contract.models import Status
from csms_redis.contract.operations import BASE_PATH, OPERATIONS, Operation

_JSON = "application/json"


def document(version: str) -> dict[str, Any]:
    """The document, ready for JSON.

    Args:
        version: of this service; the contract calls itself v0.0.0.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "MaEVe CSMS",
            "version": version,
            "description": "Internal API to interact with the MaEVe CSMS, external clients should "
            "use OCPI.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": BASE_PATH}],
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "description": operation.description,
    }
    if operation.parameter:
        described["parameters"] = [
            {
                "name": operation.parameter.name,
                "in": "path",
                "required": True,
                "description": operation.parameter.description,
                "schema": {"type": "string", "pattern": operation.parameter.pattern},
                "example": operation.parameter.example,
            }
        ]
    if operation.request:
        described["requestBody"] = {"required": True, "content": _content(operation.request)}
    responses: dict[str, Any] = {
        str(int(operation.status)): _response(operation.answer, operation.response)
    }
    if operation.not_found:
        responses["404"] = _response(operation.not_found, Status)
    responses["default"] = _response("Unexpected error", Status)
    return described | {"responses": responses}


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
        described.pop("title")
        for described_property in described["properties"].values():
            described_property.pop("title")
            if described_property.get("default", ...) is None:
                described_property.pop("default")
    return schemas
