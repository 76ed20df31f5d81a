"""Reading from web servers, honest and hostile ones."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpcore2
import pytest

from configs.settings.settings import Settings
from storage.inputs import web_source
from storage.inputs.sources import read_uri
from storage.inputs.web_source import CheckedBackend, host_objections, time_limit
from storage.objects.artefacts import MissingObject, StoreError
from tests.support.servers.web_server import Page, WebServer, make_authority, web_server
from tests.support.waiting import PATIENCE

SIGNATURE = "b5f1e0a1c2d3"
SIGNED = f"?X-Amz-Signature={SIGNATURE}&X-Amz-Expires=60"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def web(authority: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """An HTTPS server whose authority this process trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority[0]))
    web_source._pool.cache_clear()  # a pool keeps the authorities of when it was made
    with web_server(authority) as server:
        yield server
    web_source._pool.cache_clear()


@pytest.fixture
def plain() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What names mean: lists of addresses, one for each time that they are looked up, the last one for ever."""
    known: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: object, **options: object) -> list[object]:
        if host not in known:
            return real(host, port, *args, **options)
        answers = known[host].pop(0) if len(known[host]) > 1 else known[host][0]
        return [answer for address in answers for answer in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def here(**changes: object) -> Settings:
    """Settings with which the test server can be asked."""
    return Settings(input_private_hosts=True, input_timeout=10, input_attempts=1, **changes)


# -- honest servers --------------------------------------------------------------------------------------------------


def test_a_file_is_read(web: WebServer) -> None:
    web.pages["/a%20b.png?v=1"] = Page(b"pixels")
    assert read_uri(web.url("/a%20b.png?v=1"), here()) == b"pixels"
    ((target, headers),) = web.requests
    assert target == "/a%20b.png?v=1"
    assert headers["host"] == f"127.0.0.1:{web.port}"
    assert headers.keys() == {"host", "user-agent", "accept", "accept-encoding"}  # no cookies, no credentials
    assert headers["accept-encoding"] == "identity"


def test_connections_are_used_again(web: WebServer) -> None:
    web.pages["/x"] = Page(b"pixels")
    for _ in range(3):
        read_uri(web.url("/x"), here())
    assert (len(web.requests), web.connections) == (3, 1)


def test_a_certificate_must_be_trusted_and_name_the_host(
    web: WebServer, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    web.pages["/x"] = Page(b"pixels")
    names["files.test"] = names["stranger.test"] = [["127.0.0.1"]]
    assert read_uri(web.url("/x", "files.test"), here()) == b"pixels"
    assert web.server_names == ["files.test"]
    assert web.requests[0][1]["host"] == f"files.test:{web.port}"
    with pytest.raises(StoreError, match="certificate is not trusted"):
        read_uri(web.url("/x", "stranger.test"), here())
    monkeypatch.delenv("SSL_CERT_FILE")
    web_source._pool.cache_clear()
    with pytest.raises(StoreError, match="certificate is not trusted"):
        read_uri(web.url("/x", "files.test"), here())


def test_what_may_pass_is_tried_again(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(web_source.time, "sleep", waits.append)
    web.pages["/x"] = [Page(status=503), Page(status=429, headers={"Retry-After": "7"}), Page(b"pixels")]
    assert read_uri(web.url("/x"), here().model_copy(update={"input_attempts": 4})) == b"pixels"
    assert len(web.requests) == 3
    assert waits[0] < 7 <= waits[1] <= 20


def test_tries_end(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_source.time, "sleep", lambda _: None)
    web.pages["/x"] = Page(status=503, headers={"Retry-After": "Wed, 21 Oct 2065 07:28:00 GMT"})
    with pytest.raises(StoreError, match="HTTP 503 Service Unavailable") as error:
        read_uri(web.url("/x"), here().model_copy(update={"input_attempts": 3}))
    assert error.value.retryable
    assert len(web.requests) == 3


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (404, MissingObject, "is not there"),
        (410, MissingObject, "is not there"),
        (401, StoreError, "a login is required"),
        (403, StoreError, "a signed link may have expired"),
        (204, StoreError, "HTTP 204"),
        (206, StoreError, "HTTP 206"),
        (418, StoreError, "HTTP 418"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    web: WebServer, status: int, kind: type[StoreError], advice: str
) -> None:
    web.pages["/x"] = Page(status=status)
    with pytest.raises(kind, match=advice):
        read_uri(web.url("/x"), here().model_copy(update={"input_attempts": 4}))
    assert len(web.requests) == 1


def test_a_server_that_is_not_there_is_named(plain: WebServer) -> None:
    port = plain.port
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(StoreError, match=f"127.0.0.1:{port}/x: no connection to the server .*refused") as error:
        read_uri(f"http://127.0.0.1:{port}/x", here(input_schemes=("http",)))
    assert error.value.retryable


# -- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/there?b=2", "there?b=2", "ABSOLUTE/there?b=2", "//HOST/there?b=2"])
def test_redirects_are_followed(web: WebServer, status: int, location: str) -> None:
    location = location.replace("ABSOLUTE", web.url("")).replace("HOST", f"127.0.0.1:{web.port}")
    web.pages["/here"] = Page(status=status, headers={"Location": location})
    web.pages["/there?b=2"] = Page(b"pixels")
    assert read_uri(web.url("/here?a=1"), here()) == b"pixels"


def test_redirects_come_to_an_end(web: WebServer) -> None:
    web.pages["/loop"] = Page(status=302, headers={"Location": "/loop"})
    with pytest.raises(StoreError, match="more than 2 times"):
        read_uri(web.url("/loop"), here(input_redirects=2))
    assert len(web.requests) == 3


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://127.0.0.1:80/x", "http:// is not allowed"),
        ("file:///etc/passwd", "an invalid web address"),
        ("s3://bucket/key", "an invalid web address"),
        ("gopher://x/", "an invalid web address"),
        ("https://user:secret@x/", "user name or password"),
        ("https://2130706433/", "four decimal numbers"),
        ("https://169.254.169.254/latest/meta-data/", "link-local"),
        ("https://[fd00:ec2::254]/latest/", "AWS keeps credentials"),
        ("https://elsewhere.test/x", "host elsewhere.test is not allowed here"),
        ("https://x y/", "printable ASCII"),
    ],
)
def test_redirects_are_checked_like_first_addresses(web: WebServer, location: str, said: str) -> None:
    web.pages["/x"] = Page(status=302, headers={"Location": location})
    hosts = ("127.0.0.1", "169.254.169.254", "fd00:ec2::254")
    with pytest.raises(StoreError, match=said) as error:
        read_uri(web.url("/x"), here(input_hosts=hosts))
    assert len(web.requests) == 1
    assert "secret" not in str(error.value)


def test_a_redirect_from_outside_does_not_lead_inside(
    web: WebServer, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that may be asked answers with the address of one that may not."""
    names["files.test"] = [["203.0.113.7"]]
    names["inside.test"] = [["127.0.0.1"]]
    _pretend_public(monkeypatch, "203.0.113.7", web.port)
    web.pages["/x"] = Page(status=302, headers={"Location": web.url("/inside", "inside.test")})
    settings = Settings(input_attempts=1)
    with pytest.raises(StoreError, match=r"inside.test may not be asked: 127\.0\.0\.1 is an address of this machine"):
        read_uri(web.url("/x", "files.test"), settings)
    assert web.targets == ["/x"]


# -- where requests may not go ---------------------------------------------------------------------------------------


def _pretend_public(monkeypatch: pytest.MonkeyPatch, address: str, port: int) -> list[str]:
    """Has connections to `address`, which counts as public, end at our server. Returns where connections went."""
    from configs.settings import access

    asked: list[str] = []
    connect = httpcore2.SyncBackend.connect_tcp
    public = access._is_public

    def connect_tcp(self: httpcore2.SyncBackend, host: str, *args: object) -> httpcore2.NetworkStream:
        asked.append(host)
        return connect(self, "127.0.0.1" if host == address else host, *args)

    monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", connect_tcp)
    monkeypatch.setattr(access, "_is_public", lambda each: str(each) == address or public(each))
    return asked


INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::1",
    "::",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::",
    "2001:0:53aa:64c:0:fbff:f5ff:fffe",  # Teredo: 10.0.0.1, and its bits turned
]


@pytest.mark.parametrize("address", INSIDE)
def test_no_request_goes_inside(address: str, names: dict[str, list[list[str]]]) -> None:
    host = f"[{address}]" if ":" in address else address
    for url in (f"https://{host}/x", f"https://{host}:8443/x"):
        with pytest.raises(StoreError, match=r"no request goes there|of this machine or a private network"):
            read_uri(url, Settings(input_attempts=1))
    names["innocent.test"] = [[address]]
    with pytest.raises(StoreError, match=r"innocent\.test may not be asked"):
        read_uri("https://innocent.test/x", Settings(input_attempts=1))


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"])
def test_the_clouds_credentials_are_out_of_reach_of_private_networks_too(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(StoreError, match="link-local, where clouds keep credentials"):
        read_uri(f"http://{host}/latest/meta-data/", here(input_schemes=("http",)))


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "127.0.0.01",
        "0300.0250.0.1",
        "1.2.3.4.5",
    ],
)
def test_other_spellings_of_addresses_are_no_way_around(host: str, plain: WebServer) -> None:
    with pytest.raises(StoreError):
        read_uri(f"http://{host}:{plain.port}/x", Settings(input_schemes=("http",), input_attempts=1))
    assert plain.connections == 0


def test_a_name_that_changes_its_meaning_gains_nothing(
    web: WebServer, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the first answer is public, every later one is this machine."""
    names["files.test"] = [["203.0.113.7"], ["127.0.0.1"]]
    asked = _pretend_public(monkeypatch, "203.0.113.7", web.port)
    web.pages["/x"] = Page(b"pixels", headers={"Connection": "close"})
    assert read_uri(web.url("/x", "files.test"), Settings(input_attempts=1)) == b"pixels"
    assert asked == ["203.0.113.7"]  # the address that was checked, not the name
    with pytest.raises(StoreError, match="may not be asked"):
        read_uri(web.url("/x", "files.test"), Settings(input_attempts=1))


def test_of_several_addresses_only_public_ones_are_asked(
    web: WebServer, names: dict[str, list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["files.test"] = [["127.0.0.1", "203.0.113.7", "10.0.0.1"]]
    asked = _pretend_public(monkeypatch, "203.0.113.7", web.port)
    web.pages["/x"] = Page(b"pixels")
    assert read_uri(web.url("/x", "files.test"), Settings(input_attempts=1)) == b"pixels"
    assert asked == ["203.0.113.7"]


def test_the_next_address_is_tried_when_one_does_not_answer(web: WebServer, names: dict[str, list[list[str]]]) -> None:
    names["files.test"] = [["::1", "127.0.0.1"]]  # the server listens on the second only
    web.pages["/x"] = Page(b"pixels")
    assert read_uri(web.url("/x", "files.test"), here()) == b"pixels"


def test_proxies_of_the_environment_are_not_used(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    web.pages["/x"] = Page(b"pixels")
    assert read_uri(web.url("/x"), here()) == b"pixels"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("files.test", True), ("FILES.test", True), ("files.test.", True), ("a.cdn.test", True), ("cdn.test", False),
     ("evilcdn.test", False), ("files.test.evil.test", False), ("127.0.0.1", False)],
)  # fmt: skip
def test_listed_hosts_alone_are_asked(host: str, allowed: bool, names: dict[str, list[list[str]]]) -> None:
    names.update({name: [["198.51.100.1"]] for name in ("files.test", "a.cdn.test")})
    with pytest.raises(StoreError) as error:
        read_uri(f"https://{host}/x", Settings(input_hosts=("files.test", "*.cdn.test"), input_attempts=1))
    assert ("is not allowed here" not in str(error.value)) is allowed


def test_hosts_are_looked_up_before_any_work(names: dict[str, list[list[str]]]) -> None:
    names["inside.test"] = [["10.0.0.1"]]
    names["mixed.test"] = [["10.0.0.1", "93.184.216.34"]]
    found = host_objections(["inside.test", "mixed.test"], private=False)
    assert list(found) == ["inside.test"]
    assert "10.0.0.1 is an address of this machine or a private network" in found["inside.test"]
    assert host_objections(["inside.test"], private=True) == {}


def test_no_job_has_names_looked_up_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()

    def look_up(host: str, *_: object, **__: object) -> list[object]:
        asked.add(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    found = host_objections((f"h{number}.test" for number in range(100_000)), private=False)
    assert len(found) == len(asked) == 200
    assert "correct its name" in found["h0.test"]


# -- hostile servers -------------------------------------------------------------------------------------------------


def test_a_body_is_limited_whatever_length_is_told(web: WebServer) -> None:
    web.pages["/told"] = Page(b"x" * 100)
    with pytest.raises(StoreError, match="has 100 bytes; at most 99 are read"):
        read_uri(web.url("/told"), here(), max_bytes=99)
    assert len(read_uri(web.url("/told"), here(), max_bytes=100)) == 100

    sent = threading.Event()

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        except OSError:
            sent.set()

    web.pages["/endless"] = endless
    with pytest.raises(StoreError, match="has more than 1000000 bytes"):
        read_uri(web.url("/endless"), here(), max_bytes=1_000_000)
    assert sent.wait(PATIENCE), "the connection was not closed"


def test_compressed_bodies_are_refused(web: WebServer) -> None:
    web.pages["/bomb"] = Page(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    with pytest.raises(StoreError, match="comes compressed"):
        read_uri(web.url("/bomb"), here())


def drip(text: bytes) -> object:
    """Sends a byte every 50 ms: often enough for any limit between two bytes."""

    def talk(connection: socket.socket) -> None:
        for byte in text:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)

    return talk


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X-Padding: 1\r\n" * 100, id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + b"x" * 999, id="body"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, id="continue"),
    ],
)
def test_a_server_that_drips_is_left_in_time(web: WebServer, text: bytes) -> None:
    web.pages["/slow"] = drip(text)
    start = time.monotonic()
    with pytest.raises(StoreError, match=r"/slow did not answer in time"):
        read_uri(web.url("/slow"), here().model_copy(update={"input_timeout": 0.5}))
    assert time.monotonic() - start < 5


def test_a_server_that_never_shakes_hands_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/x"
        start = time.monotonic()
        with pytest.raises(StoreError, match="did not answer in time"):
            read_uri(url, here().model_copy(update={"input_timeout": 0.5}))
        assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"\x00" * 1000,
    ],
)
def test_nonsense_is_an_error_and_no_crash(web: WebServer, answer: bytes) -> None:
    web.pages["/x"] = lambda connection: connection.sendall(answer)
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:\d+/x"):
        read_uri(web.url("/x"), here())


def test_the_limit_concerns_every_kind_of_operation() -> None:
    with time_limit(-1), pytest.raises(httpcore2.ReadTimeout):
        CheckedBackend(private=True).connect_tcp("127.0.0.1", 9)


# -- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [Page(status=404), Page(status=403), Page(status=503), Page(b"x" * 99),
                                  Page(b"", headers={"Content-Encoding": "br"}),
                                  Page(status=302, headers={"Location": f"/x{SIGNED}"}),
                                  Page(status=302, headers={"Location": f"http://x/{SIGNED}"}),
                                  Page(status=302, headers={"Location": f"https://10.0.0.1/{SIGNED}"})])  # fmt: skip
def test_no_message_and_no_log_has_a_signature(
    web: WebServer, page: Page, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_source.time, "sleep", lambda _: None)
    caplog.set_level(logging.DEBUG)
    web.pages["/x"] = page
    settings = Settings(input_private_hosts=True, input_attempts=2, input_hosts=("127.0.0.1",))
    with pytest.raises(StoreError) as error:
        read_uri(web.url(f"/x{SIGNED}"), settings, max_bytes=9)
    import traceback

    told = "".join(traceback.format_exception(error.value)) + caplog.text
    assert SIGNATURE not in told
    assert "X-Amz" not in told
    assert web.url("/x") in told
