"""`csms-redis certificate` as an operator or a script runs it."""

from tests.conftest import DATA
from tests.support.commands import Run, audited, records

SECRET = "hunter2-and-more"
PEM = DATA / "certificates" / "root-V2G-cert.pem"
HASH = "TgW4ki1DkjzfILICzdDYSXcLUAOMOfEE9QbX8QMP-Ak="


class TestCertificates:
    """`csms-redis certificate`."""

    def test_from_adding_to_removing(self, run: Run) -> None:
        """By its hash in any spelling."""
        added = run("certificate", "add", str(PEM))
        assert audited(added, "certificateHash", "outcome") == [HASH, "done"]
        assert HASH in added.stdout
        (shown,) = records(run("certificate", "show", HASH.rstrip("="), "--json"))
        (listed,) = records(run("certificate", "list", "--json"))
        assert shown == listed
        assert shown["certificateHash"] == HASH
        assert "notAfter" in run("certificate", "show", HASH).stdout
        assert (
            run("certificate", "list", "--expires-before", "1990-01-01T00:00:00Z").returncode == 0
        )
        run("certificate", "list", "--expires-before", "soon", code=2)
        spelled = HASH.replace("-", "+").replace("_", "/")
        assert audited(run("certificate", "remove", spelled), "certificateHash") == [HASH]
        run("certificate", "remove", HASH, code=3)
        run("certificate", "show", "nonsense", code=3)

    def test_odd_ones(self, run: Run) -> None:
        """What TLS proxies verify is taken, in any wrapping; no warning but a doubt's."""
        odd = DATA / "certificates" / "odd"
        for file in sorted(odd.glob("*.pem")):
            done = run("certificate", "add", str(file))
            warnings = [line for line in done.stderr.splitlines() if not line.startswith("{")]
            names = [line.split(": ")[1] for line in warnings]
            assert names == (["chain-order"] if file.name == "leaflast.pem" else [])
        assert len(records(run("certificate", "list", "--json"))) == 5
        (shown,) = records(
            run("certificate", "show", "9qYwh8syquaf768zu3ymSNQrAsRwjX3LhvKgUInUvPM", "--json")
        )
        assert shown.keys() == {"certificateHash", "lastUpdated"}

    def test_a_private_key_is_refused_and_not_repeated(self, run: Run) -> None:
        """Neither on standard output nor in the log."""
        key = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
        done = run("certificate", "add", "-", stdin=PEM.read_text() + key, code=2)
        assert audited(done, "outcome") == ["refused"]
        assert SECRET not in done.stdout + done.stderr
