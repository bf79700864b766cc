"""Renders charts by Helm's own engine, for `tests.deploy.helm`, in a process of its own.

The engine is written in Go: its runtime has threads and signal handlers, which a process that forks
must not have. It reads a JSON object on standard input and writes one to standard output; Helm's
log goes to standard error.
"""

import json
import os
import sys
from typing import Any

import helm_python  # type: ignore[import-not-found, unused-ignore]


def render(chart: str, releases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What becomes of each release: its files, or the error."""
    made: dict[str, Any] = {}
    with helm_python.Chart.load(chart) as loaded:
        for case, release in releases.items():
            try:
                loaded.validate_schema(release["values"])
                files = loaded.render(
                    release["values"], name=release["name"], namespace=release["namespace"]
                )
                made[case] = {"files": files}
            except helm_python.HelmError as error:
                made[case] = {"error": str(error)}
    return made


def main() -> None:
    """Do what standard input asks for."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the engine prints
    asked = json.load(sys.stdin)
    answer = {
        "engine": helm_python.helm_sdk_version(),
        "lint": helm_python.lint(asked["chart"], strict=True),
        "releases": render(asked["chart"], asked["releases"]),
    }
    archive = helm_python.package(asked["chart"], destination=asked["package"])
    first = dict([*asked["releases"].items()][:1])
    answer["packaged"] = render(str(archive), first)
    json.dump(answer, answers)
    answers.close()


if __name__ == "__main__":
    main()
