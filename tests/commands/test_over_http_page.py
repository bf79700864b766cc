"""What `deploy/operate.md` tells to type at a service's address."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from csms_redis.access.secret import hash_of, new_secret
from tests.conftest import running_service
from tests.deploy.document import Terminal, section
from tests.support.examples import examples


def test_what_it_says_is_so(tmp_path: Path) -> None:
    """Each command, as it stands there, prints what is shown below it."""
    secret = new_secret()
    (tmp_path / "anna.secret").write_text(f"{secret}\n")
    (tmp_path / "fleet.csv").write_text("csId,securityProfile\ncs302,2\ncs303,2\n")
    (tmp_path / "more.jsonl").write_text(
        '{"csId":"cs304","securityProfile":2}\n{"csId":"cs305","securityProfile":3}\n'
    )
    hashes = [hash_of(secret.encode()).hex()]
    clients = {"anna": {"roles": ["operator"], "secret_hashes": hashes}}
    with running_service(auth__clients=json.dumps(clients)) as service:
        port = urlsplit(service.url).port
        assert port
        terminal = Terminal(tmp_path, {}, {9410: port})
        shown = examples(section("operate.md", "Commands over HTTP"))
        assert len(shown) == 5
        for example in shown:
            terminal.type(example)
        assert {line["client"] for line in service.events("write")} == {"anna"}
