#!/usr/bin/env python3
"""Copy to where kustomize may reach them: it takes no file from above its directory.

Run it after a change of one of the originals; a test fails until then.
"""

from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]

RULE = """\
# Made of deploy/monitoring/alerts.yaml by deploy/kubernetes/refresh.py.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: csms-redis
  labels:
    app.kubernetes.io/name: csms-redis
    app.kubernetes.io/instance: csms-redis
    app.kubernetes.io/part-of: csms
    release: kube-prometheus-stack
spec:
"""


def copies() -> dict[Path, str]:
    """Each file that is made, with its text."""
    made = {HERE / "base/config.toml": (PROJECT / "config.toml").read_text("utf-8")}
    alerts = (PROJECT / "deploy/monitoring/alerts.yaml").read_text("utf-8")
    lines = alerts.splitlines(keepends=True)
    indented = "".join(f"  {line}" if line.strip() else line for line in lines)
    made[HERE / "components/prometheus-rule/prometheus-rule.yaml"] = RULE + indented
    return made


if __name__ == "__main__":
    for path, text in copies().items():
        path.write_text(text, "utf-8")
