"""Whatever bytes are in the place of DER, they are told apart and never trip the reader."""

from hypothesis import given
from hypothesis import strategies as st

from csms_redis.contract import der
from csms_redis.contract.certificates import InvalidCertificate, der_hash, read_pem
from csms_redis.contract.der import Form, NotDer
from tests.support.client_certificates import LEAF
from tests.support.odd_certificates import tlv
from tests.support.pem import block


@given(st.binary(max_size=300))
def test_any_bytes_have_a_form(data: bytes) -> None:
    """Hostile lengths end in no other error, and nothing is read beyond the end."""
    der.form(data)
    der.form(b"\x30\x82" + len(data).to_bytes(2, "big") + data)
    try:
        first = der.element(data, 0, len(data))
        children = list(der.elements(data, first))
    except NotDer:
        return
    assert 0 < first.start <= first.end <= len(data)
    for child in children:
        assert first.start < child.start <= child.end <= first.end


@given(
    st.lists(st.tuples(st.integers(0, len(LEAF) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(LEAF)),
)
def test_a_changed_certificate_is_taken_or_refused(
    changes: list[tuple[int, int]], cut: int
) -> None:
    """Whatever byte is another one, and wherever it is cut."""
    data = bytearray(LEAF)
    for at, value in changes:
        data[at] = value
    for der_ in (bytes(data), LEAF[:cut], bytes(data)[:cut]):
        try:
            certificate = read_pem(block(der_))
        except InvalidCertificate:
            continue
        assert certificate.hash == der_hash(der_)


@given(st.recursive(
    st.binary(max_size=6).map(lambda data: tlv(0x02, data)),
    lambda inner: st.tuples(
        st.sampled_from([0x30, 0x31, 0xA0, 0xA3, 0x03, 0x06, 0x04]), st.lists(inner, max_size=8)
    ).map(lambda both: tlv(both[0], *both[1])),
    max_leaves=40,
))  # fmt: skip
def test_any_structure_has_a_form(data: bytes) -> None:
    if der.form(data) is Form.CERTIFICATE:
        der.outline(data)


def test_many_elements_are_not_looked_at() -> None:
    many = tlv(0x30, *[b"\x02\x00"] * 30_000)
    assert der.form(many) is Form.OTHER
    deep = b""
    for _ in range(2000):
        deep = tlv(0x30, deep)
    assert der.form(deep) is Form.OTHER
