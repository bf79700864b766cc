import pytest

from .cache_memory import Memory
from .cases import SERVICE, SERVICE_HIT
from .cpu import Reading
from .figures import Figure, figures
from .processes import CannotRun
from .sample import Sample, medians, ratios
from .wrk import Counts, Load, Writes, parse, sample

WRK_SAID = """\
Running 2s test @ http://127.0.0.1:8080
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     6.10ms   20.98ms 149.79ms   93.78%
    Req/Sec    96.87k    41.24k  155.02k    70.00%
  200000 requests in 2.00s, 45.05MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
Requests/sec: 100000.00
Transfer/sec:     21.88MB
counts: {"requests":200000,"duration_us":2000000,"status":5,"connect":1,"read":2,"write":3,\
"timeout":4,"p50_us":600,"p99_us":1500,"p999_us":9000}
"""
COUNTS = Counts(
    requests=200_000,
    duration_us=2_000_000,
    status=5,
    connect=1,
    read=2,
    write=3,
    timeout=4,
    p50_us=600,
    p99_us=1500,
    p999_us=9000,
)
USED = Reading(
    elapsed_ns=2_500_000_000, server_ns=2_000_000_000, core_ns=2_250_000_000, connections=64
)


def _sample(cpu_us: float, wrong: int = 0) -> Sample:
    return Sample(
        cpu_us=cpu_us,
        per_second=1e6 / cpu_us,
        p50_ms=1,
        p99_ms=2,
        p999_ms=3,
        busy=1,
        others=0,
        answered=1000,
        wrong=wrong,
        connections=0,
    )


def _samples(*cpu_us: float) -> list[Sample]:
    return [_sample(each) for each in cpu_us]


def test_wrk_output_is_read() -> None:
    assert parse(WRK_SAID) == COUNTS


def test_wrk_output_without_counts_is_quoted() -> None:
    """What wrk says on its output tells why it did not run."""
    with pytest.raises(CannotRun, match="Connection refused"):
        parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_sample_relates_what_was_used_to_what_was_answered() -> None:
    load = Load(pattern="/%06d", count=10)

    expected = Sample(
        cpu_us=10,
        per_second=100_000,
        p50_ms=0.6,
        p99_ms=1.5,
        p999_ms=9,
        busy=0.8,
        others=0.1,
        answered=200_000,
        wrong=15,
        connections=64 / 200_000,
    )

    assert expected == sample(COUNTS, load, USED)


def test_where_404_is_expected_every_other_answer_is_wrong() -> None:
    load = Load(pattern="/%06d", count=10, status=404)

    assert sample(COUNTS, load, USED).wrong == 200_000 - 5 + 10


def test_nothing_answered_is_no_sample() -> None:
    nothing = Counts(0, 2_000_000, 0, 64, 0, 0, 0, 0, 0, 0)

    with pytest.raises(CannotRun, match="not one request"):
        sample(nothing, Load(pattern="/%06d", count=10), USED)


def test_load_is_told_to_the_script() -> None:
    load = Load(
        pattern="/cs/%06d",
        first=5,
        count=10,
        close=True,
        writes=Writes(every=99, pattern="/w/%06d", body=b"{}"),
    )

    assert load.arguments() == ["/cs/%06d", "5", "10", "close", "99", "/w/%06d", "{}"]


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that slows down for a round slows both."""
    assert ratios(_samples(20, 40, 40), _samples(10, 20, 10)) == [2.0, 2.0, 4.0]


def test_ratios_want_as_many_rounds_of_both() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios(_samples(20, 40), _samples(10))


def test_medians_are_of_each_attribute() -> None:
    middle = medians(_samples(30, 10, 20))

    assert (middle["cpu_us"], middle["per_second"]) == (20, 1e6 / 20)


def test_figures_are_medians_of_the_ratios() -> None:
    measured = {
        "hit": {
            SERVICE: _samples(20, 24, 90),
            "nginx": _samples(10, 10, 10),
            "aiohttp": _samples(400, 240, 400),
        }
    }

    assert [
        Figure(case="hit", what="wrong or missing answers", at_most=0, measured=0),
        Figure(case="hit", what="CPU per lookup / nginx", at_most=1.1, measured=2.4),
        Figure(case="hit", what="CPU per lookup / aiohttp", at_most=0.1, measured=0.1),
    ] == figures(measured, None)


def test_a_figure_whose_peer_is_missing_is_not_measured() -> None:
    measured = {"new-connection": {SERVICE: _samples(20)}}

    *_, figure = figures(measured, None)

    assert figure.verdict == "not measured"


def test_one_wrong_answer_fails() -> None:
    measured = {"unknown": {SERVICE: [_sample(20, wrong=1)], SERVICE_HIT: _samples(20)}}

    assert [figure.verdict for figure in figures(measured, None)] == ["FAIL", "PASS"]


def test_the_memory_is_held_against_its_bounds() -> None:
    memory = Memory(
        stations=1_000_000,
        bytes_per_station=400,
        certificates=50_000,
        cache_bytes=2**26,
        certificate_bytes=2**26 + 1,
    )

    assert [figure.verdict for figure in figures({}, memory)] == ["PASS", "FAIL"]
