"""The pages that are made of the code: settings, metrics, the API."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import csms_redis
from csms_redis import __version__
from csms_redis.contract.openapi import document
from csms_redis.settings import ENV_DELIMITER, ENV_PREFIX, Settings

PACKAGE = Path(csms_redis.__file__).parent
_START = 60  # seconds
_KEY = re.compile(r"(?:# )?([a-z_]+) = .*?(?:  ?# (.*))?$")
_SECTION = re.compile(r"\[([\w.]+)\](?: +# (.*))?$")


def settings(_pages: Path) -> str:
    """Each setting: type and bounds, default, environment variable, what it is for."""
    said = comments((PACKAGE / "config.toml").read_text("utf-8"))
    lines = [
        "# Settings",
        "",
        "Made of the code. A flag of `serve` wins over the environment, that over the file.",
        "Times are in seconds, sizes in bytes. A list or a table is JSON in the environment.",
    ]
    for name, model in sections(Settings):
        lines += ["", f"## {name}", ""]
        lines += [said[name], ""] if said.get(name) else []
        lines += ["| setting | what it is for | default | allowed |", "|---|---|---|---|"]
        schema = model.model_json_schema()
        for key, field in model.model_fields.items():
            if is_section(field.default):
                continue
            kind = allowed(schema["properties"][key], schema.get("$defs", {}))
            rule = ", ".join(filter(None, [kind, bounds(field)]))
            default = json.dumps(schema["properties"][key].get("default"), ensure_ascii=False)
            shown = "" if default == "null" else f"`{default}`"
            variable = f"{ENV_PREFIX}{name.replace('.', ENV_DELIMITER)}{ENV_DELIMITER}{key}".upper()
            cells = f"{cell(said.get(f'{name}.{key}', ''))} | {cell(shown)} | {cell(rule)}"
            lines.append(f"| `{key}`<br>`{variable}` | {cells} |")
    return "\n".join(lines) + "\n"


def sections(model: type[BaseModel], within: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections of the settings, each after the one that it is in."""
    for name, field in model.model_fields.items():
        if is_section(field.default):
            yield within + name, type(field.default)
            yield from sections(type(field.default), f"{within}{name}.")


def is_section(default: object) -> bool:
    """Whether a field is a section of its own."""
    return isinstance(default, BaseModel)


def comments(toml: str) -> dict[str, str]:
    """What the commented settings say of each section and key."""
    said: dict[str, str] = {}
    section = ""
    above: list[str] = []
    for line in toml.splitlines():
        if found := _SECTION.match(line):
            section = found[1]
            said[section] = " ".join([*above, found[2] or ""]).strip()
            above = []
        elif found := _KEY.match(line):
            said[f"{section}.{found[1]}"] = " ".join([*above, found[2] or ""]).strip()
            above = []
        elif line.startswith("# ") and not line.startswith("#   "):
            above.append(line[2:].removesuffix(" For example:"))
        elif not line:
            above = []
    return said


def allowed(schema: dict[str, Any], defs: dict[str, Any]) -> str:
    """A JSON schema in few words."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        some = [one for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(allowed(one, defs) for one in some))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = str(schema.get("type", ""))
    if kind == "array":
        return f"a list: {allowed(schema['items'], defs)}"
    if schema.get("format") in {"ipv4network", "ipv6network"}:
        return f"an {schema['format'].replace('ipv', 'IPv').replace('network', ' network')}"
    return {"object": "a table", "string": "text", "boolean": "true, false"}.get(kind, kind)


def bounds(field: FieldInfo) -> str:
    """The least and the most of a number; they are not in the schema, behind a validator."""
    words = {"ge": "from {:,}", "gt": "more than {:,}", "le": "to {:,}"}
    return " ".join(
        text.format(getattr(rule, name))
        for name, text in words.items()
        for rule in field.metadata
        if getattr(rule, name, None) is not None
    )


def cell(text: str) -> str:
    """Text that stays in its cell of a table."""
    return text.replace("|", r"\|")


def metrics(_pages: Path) -> str:
    """Each metric that a service has which runs; some have labels only when something happened."""
    with serving() as url, urllib.request.urlopen(f"{url}/metrics") as reply:  # noqa: S310 our own
        families = sorted(
            text_string_to_metric_families(reply.read().decode()), key=lambda each: each.name
        )
    lines = [
        "# Metrics",
        "",
        "Made of a scrape. What they mean for who is on duty, and the alerts that ask for them,",
        "is on the page about [monitoring](../deploy/monitoring/README.md).",
        "",
        "| metric | type | what it counts | labels |",
        "|---|---|---|---|",
    ]
    for family in families:
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = f"{family.name}_total" if family.type == "counter" else family.name
        named = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {family.type} | {cell(family.documentation)} | {named} |")
    return "\n".join(lines) + "\n"


@contextmanager
def serving() -> Iterator[str]:
    """A service with a store of its own that has answered something.

    Yields:
        its address.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        settings = {"CSMS_SERVER__PORT": "0", "CSMS_TELEMETRY__LOG_FORMAT": "json"}
        own = {name: value for name, value in os.environ.items() if not name.startswith("CSMS_")}
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [sys.executable, "-m", "csms_redis", "serve"],
                cwd=folder,
                env=own | settings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            ) as process,
        ):
            try:
                url = address(process, log)
                for method, path in (("GET", "/cs/a/auth"), ("DELETE", "/token/a")):
                    ask(url + "/api/v0" + path, method)
                yield url
            finally:
                process.terminate()


def address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Wait until a service listens, and say where."""
    deadline = time.monotonic() + _START
    while process.poll() is None and time.monotonic() < deadline:
        found = re.search(r"http://[^\"\s]+", log.read_text("utf-8"))
        if found and ask(f"{found[0]}/health/ready") == 200:
            return found[0]
        time.sleep(0.05)
    raise SystemExit(f"the service does not start:\n{log.read_text('utf-8')}")


def ask(url: str, method: str = "GET") -> int:
    """Send a request, and return the status of its answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method)) as reply:  # noqa: S310 our own
            return int(reply.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def api(pages: Path) -> str:
    """Each operation in a table, and the whole document as Swagger UI shows it."""
    described = document(__version__)
    folder = pages / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "openapi.json").write_text(json.dumps(described), "utf-8")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        shutil.copyfile(PACKAGE / "api/swagger_ui" / name, folder / name)
    base = described["servers"][0]["url"]
    rows = [
        f"| `{method.upper()} {base}{path}` | {cell(operation['summary'])} |"
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "summary" in operation
    ]
    shown = {"spec": described, "dom_id": "#swagger-ui", "supportedSubmitMethods": []}
    script = json.dumps(shown | {"validatorUrl": None}).replace("</", "<\\/")
    return "\n".join(
        [
            "# API",
            "",
            "Made of the code. A service that runs has it at `/docs`, where it can be tried, and",
            "as OpenAPI at `/api/openapi.json`; [here too](openapi.json).",
            "",
            "| operation | what it does |",
            "|---|---|",
            *rows,
            "",
            '<link rel="stylesheet" href="swagger-ui.css">',
            '<div id="swagger-ui"></div>',
            '<script src="swagger-ui-bundle.js"></script>',
            f"<script>SwaggerUIBundle({script})</script>",
            "",
        ]
    )
