"""What must hold of every history, however Redis failed."""

from csms_redis.settings import LookupSettings
from tests.conftest import Service, wait_for
from tests.support.topologies.verdict import Verdict

_BUSY = 10  # how many times slower than wanted a busy machine may be; the figures are printed
CACHED_P99 = 0.020 * _BUSY  # seconds
LATE = 3  # a request is sent, answered and read, each as late as the load itself comes
LATE_503 = 0.300 * _BUSY  # seconds after `lookup.timeout`
UNCACHED_503 = LookupSettings().timeout + LATE_503
BACK_TO_NORMAL = 3.0 * _BUSY


def judge(verdict: Verdict, *, lossless: bool = True) -> None:
    """Assert what must hold.

    Args:
        verdict: of a history.
        lossless: whether as many replicas have a write as it takes to lose none.
    """
    if lossless:
        assert verdict.lost == [], verdict
        assert verdict.lifted_paths == set(), verdict
        assert verdict.resurrected_paths == set(), verdict
    assert verdict.wrong == [], verdict
    assert verdict.cached > 0, verdict
    assert verdict.cached_failures == [], verdict
    assert verdict.cached_p99 < CACHED_P99 + LATE * verdict.lag_p99, verdict
    assert set(verdict.others) <= {200, 404, 503}, verdict
    assert verdict.others_wrong == [], verdict
    assert verdict.slowest_503 < UNCACHED_503, verdict
    assert verdict.normal_after is not None, verdict
    assert verdict.normal_after < BACK_TO_NORMAL, verdict
    assert verdict.deleted_served == [], verdict


def until_ready(service: Service) -> None:
    """Wait until a service says that it is ready."""
    wait_for(lambda: service.request("GET", "/health/ready").status == 200, "the service is ready")
