"""Another data set under the same connection: it is noticed, and a new process is not one."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from redis import Redis

from csms_redis.redis.slots import slot_of
from tests.conftest import (
    Service,
    StartService,
    Valkey,
    password_hash,
    running_service,
    wait_for,
)
from tests.support.service import PROGRAM, environment, run
from tests.support.topologies.cluster import ClusterGroup
from tests.support.topologies.rights import ON_REDIS, PASSWORD, permit
from tests.support.topologies.standalone import Standalone

RESTORE = Path(__file__).parents[2] / "deploy" / "restore.sh"
IDENTITY = "dataset"
GONE, CHANGED, NEW = "gone", "changed", "new"
SECRET = {"securityProfile": 1, "base64SHA256Password": password_hash("secret")}
LAYOUT_2 = "storage layout 2"
NOT_KEPT = "the data set's identity is not kept"
ANOTHER = "another data set: what was known is forgotten"


def database(valkey: Valkey, number: int) -> Redis:
    return Redis(unix_socket_path=valkey.socket, db=number, decode_responses=True)


def copy(redis: Redis, key: str) -> None:
    """Into database 1."""
    assert redis.execute_command("COPY", key, key, "DB", 1)  # type: ignore[no-untyped-call]


def store(redis: Redis, station: str, record: dict[str, object], prefix: str = "") -> None:
    fields = {name: json.dumps(value) for name, value in record.items()}
    redis.hset(f"{prefix}cs:{station}", mapping=fields)  # type: ignore[arg-type] # bytes or str


def ready(service: Service) -> bool:
    return service.request("GET", "/health/ready").status == HTTPStatus.OK


def profile(service: Service, station: str) -> int | None:
    """A station's, None where it is not found."""
    reply = service.get(f"/cs/{station}/auth")
    return int(reply.json["securityProfile"]) if reply.status == HTTPStatus.OK else None


def seen(service: Service) -> list[int | None]:
    return [profile(service, station) for station in (GONE, CHANGED, NEW)]


def flushes(service: Service) -> int:
    """How often a service forgot all that it knew."""
    (line,) = (
        line
        for line in service.request("GET", "/metrics").body.decode().splitlines()
        if line.startswith('csms_invalidations_total{of="all"}')
    )
    return int(float(line.split()[-1]))


def reads(redis: Redis) -> int:
    """How often someone has asked this Redis for a record."""
    return int(redis.info("commandstats").get("cmdstat_hmget", {}).get("calls", 0))


def probes(redis: Redis) -> int:
    """How often someone has asked this Redis for an identity or a layout."""
    return int(redis.info("commandstats").get("cmdstat_get", {}).get("calls", 0))


def wait_for_probes(redis: Redis, services: int) -> None:
    """Until each of some services has probed twice."""
    before = probes(redis)
    wait_for(lambda: probes(redis) >= before + 4 * services, "probes")


BEFORE: list[int | None] = [1, 1, None]
AFTER: list[int | None] = [None, 2, 2]


@contextmanager
def two_data_sets(
    valkey: Valkey, *, numbers: tuple[int, int] = (0, 1), prefix: str = "", services: int = 2
) -> Iterator[tuple[list[Service], Redis, Redis]]:
    """Services that have cached what is in one database, and another one."""
    with ExitStack() as running:
        live, other = (running.enter_context(database(valkey, number)) for number in numbers)
        for station in (GONE, CHANGED):
            store(live, station, SECRET, prefix)
        for station in (CHANGED, NEW):
            store(other, station, {"securityProfile": 2}, prefix)
        settings = {"redis__url": f"{valkey.url}?db={numbers[0]}", "redis__key_prefix": prefix}
        # what is unknown is remembered for as long as the test takes
        settings["lookup__unknown_ttl"] = "600"
        served = [running.enter_context(running_service(**settings)) for _ in range(services)]
        for service in served:
            wait_for(lambda service=service: ready(service), "ready")  # type: ignore[misc]
            assert seen(service) == BEFORE
        wait_for_probes(live, services)
        yield served, live, other


def swap(valkey: Valkey, numbers: tuple[int, int] = (0, 1)) -> None:
    with database(valkey, 0) as redis:
        redis.swapdb(*numbers)


def wait_until_seen(services: list[Service], wanted: list[int | None]) -> None:
    for service in services:
        wait_for(lambda service=service: seen(service) == wanted, f"{wanted} is answered")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("numbers", "prefix"), [((0, 1), ""), ((3, 5), "a:")], ids=["0 and 1", "3 and 5, prefix"]
)
def test_swapdb(numbers: tuple[int, int], prefix: str, valkey: Valkey) -> None:
    """What is no more, what differs and what is new is seen, there and back, by all."""
    with two_data_sets(valkey, numbers=numbers, prefix=prefix) as (services, _, _):
        swap(valkey, numbers)
        wait_until_seen(services, AFTER)
        swap(valkey, numbers)
        wait_until_seen(services, BEFORE)
        for service in services:
            assert service.events(ANOTHER)


def test_an_older_copy(valkey: Valkey, start_service: StartService) -> None:
    """A process that started since makes the difference; swapped back it is seen as well."""
    with two_data_sets(valkey, services=1) as (services, live, other):
        other.flushdb()
        for key in live.scan_iter():
            copy(live, str(key))
        other.delete(f"cs:{GONE}")
        store(other, CHANGED, {"securityProfile": 2})
        store(other, NEW, {"securityProfile": 2})
        assert other.get(IDENTITY) == live.get(IDENTITY)
        services.append(start_service(redis__url=f"{valkey.url}?db=0"))
        wait_for(lambda: ready(services[1]), "ready")
        assert seen(services[1]) == BEFORE
        wait_for(lambda: live.get(IDENTITY) != other.get(IDENTITY), "the identity is renewed")
        wait_for_probes(live, 2)
        # writes to the copy dropped what was kept: Redis tells of keys, not of databases
        assert [seen(service) for service in services] == [BEFORE, BEFORE]
        swap(valkey)
        wait_until_seen(services, AFTER)
        swap(valkey)
        wait_until_seen(services, BEFORE)


def test_a_copy_that_was_restored_into(valkey: Valkey, tmp_path: Path) -> None:
    """The restore gives it an identity, also when it is swapped in at once."""
    for kind in ("tokens", "certificates"):
        (tmp_path / f"{kind}.jsonl").write_text("")
    rows = [{"csId": station, "securityProfile": 2} for station in (CHANGED, NEW)]
    (tmp_path / "stations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with two_data_sets(valkey) as (services, live, other):
        other.flushdb()
        for key in (IDENTITY, "layout"):
            copy(live, key)
        restored = subprocess.run(
            [RESTORE, tmp_path],
            env=environment({"CSMS_REDIS__URL": f"{valkey.url}?db=1", "PROGRAM": PROGRAM}),
            timeout=60,
            capture_output=True,
            check=False,
        )
        assert restored.returncode == 0, restored.stderr
        assert [seen(service) for service in services] == [BEFORE, BEFORE]
        swap(valkey)
        wait_until_seen(services, AFTER)
        assert other.get(IDENTITY) != live.get(IDENTITY)


def test_a_data_set_without_an_identity_gets_one(valkey: Valkey) -> None:
    """Also where only the identity is removed, and everything is read anew."""
    with two_data_sets(valkey) as (services, live, _):
        before = [flushes(service) for service in services]
        assert live.delete(IDENTITY) == 1
        wait_for(lambda: live.exists(IDENTITY), "it is written again")
        for service, count in zip(services, before, strict=True):
            wait_for(lambda s=service, c=count: flushes(s) > c, "all is forgotten")  # type: ignore[misc]
        assert [seen(service) for service in services] == [BEFORE, BEFORE]
        wait_for_probes(live, 2)
        counts = [flushes(service) for service in services]
        wait_for_probes(live, 2)
        assert [flushes(service) for service in services] == counts


def test_a_redis_that_lost_its_data_gets_one(valkey: Valkey) -> None:
    """Another data set is noticed later too, and the log says what has happened to Redis."""
    with two_data_sets(valkey, services=1) as ((service,), live, other):
        valkey.kill()
        valkey.start()
        wait_for(lambda: live.exists(IDENTITY), "it is written again")
        (line,) = service.events("the data set's identity was missing")
        assert line["level"] == "warning"
        assert "without its data" in line["reason"]
        assert service.post(f"/cs/{GONE}", SECRET).status == HTTPStatus.CREATED
        assert profile(service, GONE) == 1
        wait_for_probes(live, 1)
        store(other, NEW, {"securityProfile": 2})
        swap(valkey)
        wait_until_seen([service], [None, None, 2])


def test_it_is_written_once_there_is_memory(valkey: Valkey) -> None:
    """A Redis whose memory is full takes none at the start of the service."""
    with database(valkey, 0) as live, database(valkey, 1) as other:
        live.config_set("maxmemory", "1")
        with running_service(redis__url=f"{valkey.url}?db=0") as service:
            wait_for(lambda: service.events(NOT_KEPT), "it is refused")
            assert not live.exists(IDENTITY)
            live.config_set("maxmemory", "0")
            wait_for(lambda: live.exists(IDENTITY), "it is written")
            store(live, GONE, SECRET)
            wait_for(lambda: profile(service, GONE) == 1, "it is known")
            wait_for_probes(live, 1)
            store(other, NEW, {"securityProfile": 2})
            swap(valkey)
            wait_until_seen([service], [None, None, 2])


def test_processes_that_start_take_nothing_from_others(
    valkey: Valkey, start_service: StartService, tmp_path: Path
) -> None:
    """Nor does an import: each renews the identity, and what is known stays known."""
    with two_data_sets(valkey, services=1) as ((service,), live, _):
        marks = str(live.get(IDENTITY))
        for number in range(3):
            another = start_service(redis__url=f"{valkey.url}?db=0")
            wait_for(lambda another=another: ready(another), "ready")  # type: ignore[misc]
            (tmp_path / "fleet.csv").write_text(f"csId,securityProfile\nother{number},2\n")
            ended = run(
                "import",
                "stations",
                "fleet.csv",
                cwd=tmp_path,
                settings={"CSMS_REDIS__URL": f"{valkey.url}?db=0"},
            )
            assert ended.returncode == 0, ended.stderr
        wait_for(lambda: len(str(live.get(IDENTITY)).split()) == len(marks.split()) + 6, "marks")
        wait_for_probes(live, 4)
        before = reads(live)
        for _ in range(100):
            assert seen(service) == BEFORE
        # four services, each with a probe a second
        assert reads(live) - before < 100
        assert flushes(service) == 0
        assert not service.events(ANOTHER)


@pytest.mark.parametrize("word", ["~dataset", "+eval"])
def test_without_the_right_to_it(word: str) -> None:
    """What may not be read is not missing, and what may not be written is not tried for ever."""
    with Standalone() as one:
        one.node.call("HSET", f"cs:{GONE}", "securityProfile", "1")
        permit(one.nodes, ON_REDIS, word)
        with running_service(redis__url=one.url_as("csms", PASSWORD)) as service:
            wait_for(lambda: ready(service), "ready")
            assert profile(service, GONE) == 1

            def looked() -> int:
                stats = one.node.info("commandstats")["cmdstat_get"]
                return int(stats.split("calls=")[1].split(",")[0]) + int(
                    stats.split("rejected_calls=")[1].split(",")[0]
                )

            before = looked()
            wait_for(lambda: looked() >= before + 8, "probes")
            assert flushes(service) == 0
            (line,) = service.events(NOT_KEPT)
            assert (line["level"], line["key"]) == ("warning", IDENTITY)
            assert len(service.events("Redis refused a command")) <= 1
        assert one.node.call("EXISTS", IDENTITY) == 0


def test_a_key_of_another_program_stays(valkey: Valkey) -> None:
    with database(valkey, 0) as redis:
        redis.set(IDENTITY, "theirs")
        with running_service(redis__url=valkey.url) as service:
            wait_for(lambda: ready(service), "ready")
            wait_for(lambda: service.events(NOT_KEPT), "a line")
            (line,) = service.events(NOT_KEPT)
            assert "redis.key_prefix" in line["reason"]
        assert redis.get(IDENTITY) == "theirs"


@pytest.mark.parametrize("tracked", [True, False], ids=["tracked", "untracked"])
def test_a_layout_that_is_not_ours_is_swapped_in(valkey: Valkey, *, tracked: bool) -> None:
    """Nothing is written, and what was known is served as while Redis is away."""
    with database(valkey, 0) as live, database(valkey, 1) as other:
        store(live, GONE, SECRET)
        other.set("layout", "2")
        store(other, GONE, {"securityProfile": 2})
        entries = {} if tracked else {"lookup__cache_entries": "0", "lookup__timeout": "1"}
        with running_service(redis__url=valkey.url, **entries) as service:
            wait_for(lambda: ready(service), "ready")
            assert profile(service, GONE) == 1
            swap(valkey)
            wait_for(lambda: service.events("Redis is not used"), "it is seen")
            reply = service.post("/cs/cs002", {"securityProfile": 2})
            assert reply.status == HTTPStatus.SERVICE_UNAVAILABLE
            assert LAYOUT_2 in reply.error
            assert not live.exists("cs:cs002")
            if tracked:
                assert profile(service, GONE) == 1
            else:
                assert service.get(f"/cs/{GONE}/auth").status == HTTPStatus.SERVICE_UNAVAILABLE
            swap(valkey)
            wait_for(lambda: service.post("/cs/cs002", SECRET).status == HTTPStatus.CREATED, "back")
            wait_for(lambda: ready(service), "ready")
            assert profile(service, GONE) == 1


def test_on_a_cluster_the_identity_moves_with_its_slot() -> None:
    """Its new master is asked for it, and nothing that is known is forgotten for it."""
    with ClusterGroup(replicas=0) as cluster, running_service(**cluster.settings) as service:
        wait_for(lambda: ready(service), "ready")
        names = [f"cs{number}" for number in range(30)]
        for name in names:
            assert service.post(f"/cs/{name}", SECRET).status == HTTPStatus.CREATED
            assert profile(service, name) == 1
        source = cluster.master_of(IDENTITY)
        wait_for(lambda: source.call("EXISTS", IDENTITY) == 1, "an identity")
        marks = source.call("GET", IDENTITY)
        target = next(node for node in cluster.masters() if node is not source)
        slot = slot_of(IDENTITY.encode())
        cluster.begin_migration(slot, source, target)
        cluster.move_keys(slot, source, target)

        def asked(node: object) -> int:
            return int(node.info("commandstats")["cmdstat_hello"].split("calls=")[1].split(",")[0])  # type: ignore[attr-defined]

        before = asked(source)
        wait_for(lambda: asked(source) >= before + 3, "probes while it moves")
        cluster.end_migration(slot, source, target)
        cluster.wait_until_settled()
        before = asked(target)
        wait_for(lambda: asked(target) >= before + 3, "probes afterwards")
        assert target.call("GET", IDENTITY) == marks
        assert flushes(service) == 0
        for name in names:
            assert profile(service, name) == 1
        assert target.call("DEL", IDENTITY) == 1
        wait_for(lambda: flushes(service) > 0, "its new master is watched")
        wait_for(lambda: target.call("EXISTS", IDENTITY) == 1, "it is written again")
