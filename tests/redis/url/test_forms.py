"""Every form of `redis.url`, and every one that makes no sense."""

from dataclasses import replace
from typing import Any

import pytest

from csms_redis.redis.url import BadUrl, RedisUrl, parse
from tests.support.redis_settings import refused
from tests.support.service import PASSWORD

QUOTED = "".join(f"%{byte:02X}" for byte in PASSWORD.encode())


def hosts(*pairs: tuple[str, int], **rest: Any) -> RedisUrl:
    """What a URL with these hosts says."""
    return replace(RedisUrl(kind="standalone", tls=False, hosts=pairs), **rest)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://host", hosts(("host", 6379))),
        ("redis://host/", hosts(("host", 6379))),
        ("redis://host:", hosts(("host", 6379))),
        ("REDIS://Host:7000/2", hosts(("host", 7000), db=2)),
        ("redis://10.0.0.1:7000", hosts(("10.0.0.1", 7000))),
        ("redis://[::1]", hosts(("::1", 6379))),
        ("redis://[2001:DB8:0::1]:7000/1", hosts(("2001:db8::1", 7000), db=1)),
        ("redis://[fe80::1%eth0]:7000", hosts(("fe80::1%eth0", 7000))),
        ("rediss://host:7000", hosts(("host", 7000), tls=True)),
        ("Rediss://host", hosts(("host", 6379), tls=True)),
        ("redis://:s%40crt@host", hosts(("host", 6379), password="s@crt")),
        ("redis://joe:p@host", hosts(("host", 6379), username="joe", password="p")),
        ("redis://j%3Ae:@host", hosts(("host", 6379), username="j:e", password="")),
        ("redis://joe@host", hosts(("host", 6379), username="joe")),
        ("redis://:@host", hosts(("host", 6379))),
        ("redis://@host", hosts(("host", 6379))),
        ("redis://joe:a:b@host", hosts(("host", 6379), username="joe", password="a:b")),
        (
            "redis://joe:gr%C3%BC%C3%9Fe@host",
            hosts(("host", 6379), username="joe", password="grüße"),
        ),
        ("redis://joe:a+b@host", hosts(("host", 6379), username="joe", password="a+b")),
        (f"redis://:{QUOTED}@host", hosts(("host", 6379), password=PASSWORD)),
        ("unix:///run/r.sock", RedisUrl(kind="unix", tls=False, path="/run/r.sock")),
        ("unix:///run/r.sock?db=3", RedisUrl(kind="unix", tls=False, path="/run/r.sock", db=3)),
        ("unix:///a%20b%23%40%25", RedisUrl(kind="unix", tls=False, path="/a b#@%")),
        (
            "unix://joe:p@/r.sock",
            RedisUrl(kind="unix", tls=False, path="/r.sock", username="joe", password="p"),
        ),
        (
            "redis+sentinel://host/mymaster",
            hosts(("host", 26379), kind="sentinel", name="mymaster"),
        ),
        (
            "redis+sentinel://joe:p%2Cq@h1:1,[::1]:2,H3,[::2]/my.master-1_/3",
            hosts(
                *(("h1", 1), ("::1", 2), ("h3", 26379), ("::2", 26379)),
                kind="sentinel",
                name="my.master-1_",
                db=3,
                username="joe",
                password="p,q",
            ),
        ),
        (
            "rediss+sentinel://host:1/m",
            hosts(("host", 1), kind="sentinel", name="m", tls=True),
        ),
        ("redis+cluster://h1,h2:7000", hosts(("h1", 6379), ("h2", 7000), kind="cluster")),
        ("redis+cluster://h1/", hosts(("h1", 6379), kind="cluster")),
        (
            "rediss+cluster://:p@[::1]:7000,[::1]:7001",
            hosts(("::1", 7000), ("::1", 7001), kind="cluster", tls=True, password="p"),
        ),
    ],
)
def test_a_url_that_makes_sense(url: str, said: RedisUrl) -> None:
    """Hosts, ports, database, name, user and password, each percent-decoded."""
    assert parse(url) == said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "must be embedded, or start with redis://, rediss://, unix://, redis+sentinel://"),
        ("redis", "must be embedded"),
        ("embedded ", "must be embedded"),
        ("Embedded", "must be embedded"),
        ("//host", "must be embedded"),
        ("host:6379", "must be embedded"),
        ("http://host", "must be embedded"),
        ("redis//host", "must be embedded"),
        ("redis:host", "must be embedded"),
        ("unixs:///run/r.sock", "must be embedded"),
        ("redis+nonsense://host", "must be embedded"),
        ("redis+sentinel", "must be embedded"),
        ("redis+sentinels://host/m", "must be embedded"),
        ("redis+unix:///r.sock", "must be embedded"),
        (" redis://host", "must be embedded"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis://:6379", "names no host"),
        ("redis://host:x", "the port must be a number from 1 to 65535"),
        ("redis://host:0", "the port must be"),
        ("redis://host:65536", "the port must be"),
        ("redis://host:-1", "the port must be"),
        ("redis://host:+1", "the port must be"),
        ("redis://host:6_379", "the port must be"),
        ("redis://host:\u0661", "the port must be"),
        ("redis://::1", "names no host"),
        ("redis://2001:db8::1", "too many colons in a host: IPv6 goes in brackets"),
        ("redis://::1:6379", "names no host"),
        ("redis://[::1", "has a bracket that is not closed"),
        ("redis://[::1]x", "has a bracket that is not closed"),
        ("redis://[::1]6379", "has a bracket that is not closed"),
        ("redis://[10.0.0.1]", "brackets"),
        ("redis://[host]", "brackets"),
        ("redis://[]", "brackets"),
        ("redis://h]ost", "no host"),
        ("redis://ho st", "has a space"),
        ("redis://host\n", "has a space or a control character"),
        ("redis://host\t", "has a space or a control character"),
        ("redis://host/\x00", "has a space or a control character"),
        ("redis://h%6Fst", "no host"),
        ("redis://hÖst", "no host"),
        ("redis://host/x", "the database must be a number"),
        ("redis://host/-1", "the database must be a number"),
        ("redis://host/1/2", "the database must be a number"),
        ("redis://host//1", "the database must be a number"),
        ("redis://host/999999", "the database must be a number"),
        ("redis://host?db=1", "takes no options"),
        ("redis://host?", "takes no options"),
        ("redis://host#", "percent-encode it as %23"),
        ("redis://host,host2", "names several hosts, which only"),
        ("rediss://host:1,host:2/0", "names several hosts, which only"),
        ("redis://joe:pass@word@host", "has a '@' in a user name or password: percent-encode it"),
        ("redis://joe:pass@word@", "has a '@' in a user name or password: percent-encode it"),
        ("redis://joe:pa/ss@host", "has a '/' before an '@'"),
        ("redis://:pa/ss@host:6379/0", "percent-encode it as %2F"),
        ("rediss://joe:/@host", "percent-encode it as %2F"),
        ("redis://joe:6379/1@host", "percent-encode it as %2F"),
        ("redis+sentinel://joe:a/b@h1,h2/mymaster", "percent-encode it as %2F"),
        ("rediss+cluster://joe:a/b@h1,h2", "percent-encode it as %2F"),
        ("unix://joe:a/b@/run/r.sock", "percent-encode it as %2F"),
        ("unix://joe:a@/run/r@.sock", "percent-encode it as %40"),
        ("redis://joe:a?b@host", "'?' is %3F"),
        ("redis://joe:a#b@host", "percent-encode it as %23"),
        ("redis://joe:%@host", "percent-encode it as %25"),
        ("redis://joe:50%off@host", "percent-encode it as %25"),
        ("redis://joe:%FF@host", "not UTF-8"),
        ("redis://user:{password}@", "'#'"),
        ("redis://user:{password}@host", "'#'"),
        ("redis://{password}@host/x", "'#'"),
        ("redis://user:{quoted}@", "names no host"),
        ("redis://:pass/word@host", "percent-encode it as %2F"),
        ("redis://:123/word@host", "percent-encode it as %2F"),
        ("redis://joe:123/word@host", "percent-encode it as %2F"),
        ("redis://:a@pass/word@host", "percent-encode it as %2F"),
        ("redis://:pass?word@host", "takes no options"),
        ("redis://:123?word@host", "takes no options"),
        ("redis://:pass#word@host", "'#'"),
        ("redis://:pass word@host", "a space as %20"),
        ("redis://:{quoted}@host:x", "the port must be"),
        ("redis://:{quoted}@host/x", "the database must be"),
        ("unix://", "names no socket"),
        ("unix:///", "names no socket"),
        ("unix://?db=1", "names no socket"),
        ("unix:///run/%00", "names no socket"),
        ("unix://run/redis.sock", "must be absolute"),
        ("unix://joe:p@run/redis.sock", "must be absolute"),
        ("unix://joe:pass/word@/run/redis.sock", "percent-encode it as %2F"),
        ("unix://:123/word@/run/redis.sock", "percent-encode it as %2F"),
        ("unix://joe:p@/word@/run/redis.sock", "has a '@'"),
        ("unix:///run/redis.sock?db=x", "the database must be"),
        ("unix:///run/redis.sock?timeout=1", "takes only ?db="),
        ("unix:///run/redis.sock?db=1&db=2", "the database must be"),
        ("redis+sentinel://host", "names no master"),
        ("redis+sentinel://host/", "names no master"),
        ("redis+sentinel://host//1", "names no master"),
        ("redis+sentinel://host/my%20master", "names no master"),
        ("redis+sentinel:///mymaster", "names no host"),
        ("redis+sentinel://h1,/mymaster", "names no host"),
        ("redis+sentinel://,h1/mymaster", "names no host"),
        ("redis+sentinel://h1,,h2/mymaster", "names no host"),
        ("redis+sentinel://h1, h2/mymaster", "has a space"),
        ("redis+sentinel://h1;h2/mymaster", "no host"),
        ("redis+sentinel://h1,H1:26379/mymaster", "names a host and port twice"),
        ("redis+sentinel://::1,h2/mymaster", "names no host"),
        ("redis+sentinel://h1,2001:db8::1/mymaster", "IPv6 goes in brackets"),
        ("redis+sentinel://h1/mymaster/x", "the database must be"),
        ("redis+sentinel://h1/mymaster/1/2", "the database must be"),
        ("redis+sentinel://h1/mymaster?db=1", "takes no options"),
        ("redis+sentinel://:a@pass/word@h1/mymaster", "percent-encode it as %2F"),
        ("redis+sentinel://:pass/word@h1/mymaster", "percent-encode it as %2F"),
        ("redis+sentinel://a:p@h1,b:word@h2/mymaster", "has a '@' in a user name"),
        ("redis+cluster://", "names no host"),
        ("redis+cluster://h1/0", "no databases"),
        ("redis+cluster://h1/1", "no databases"),
        ("redis+cluster://h1:x,h2", "the port must be"),
        ("redis+cluster://:a@pass/word@h1", "percent-encode it as %2F"),
        ("redis+cluster://h1?x=1", "takes no options"),
    ],
)
def test_a_url_that_makes_no_sense(url: str, says: str) -> None:
    """One line that names redis.url and how to write it, and quotes nothing of it."""
    told = refused(url.format(password=PASSWORD, quoted=QUOTED))
    assert told.startswith("redis.url: ")
    assert says in told
    for secret in (PASSWORD, QUOTED, "pass", "word@", "123"):
        assert secret not in told.replace("password", "").replace("/run/redis/redis.sock", "")


def test_bad_url_is_a_value_error() -> None:
    with pytest.raises(BadUrl):
        parse("redis://")
