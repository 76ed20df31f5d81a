"""What jobs may read and write by the operator's settings."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.documents import uris
from configs.documents.problems import InvalidInput
from configs.documents.uris import WebAddress
from configs.settings.access import Access
from configs.settings.settings import Settings, load_settings


def objection(uri: str, **settings: object) -> str | None:
    return Access(Settings(**settings)).objection_to_reading(uri)


def test_by_default_files_buckets_and_public_hosts_may_be_read() -> None:
    for uri in ("/etc/hosts", "s3://any/key", "https://example.com/x", "https://8.8.8.8/x"):
        assert objection(uri) is None
    assert "http:// is not allowed here (PIXELMILL_INPUT_SCHEMES: file, s3, https)" in objection("http://example.com/")
    assert "PIXELMILL_INPUT_PRIVATE_HOSTS" in objection("https://127.0.0.1/x")


@pytest.mark.parametrize(
    ("uri", "scheme"), [("/etc/hosts", "file"), ("s3://b/k", "s3"), ("https://h/x", "https"), ("http://h/x", "http")]
)
def test_schemes_can_be_switched_on_and_off(uri: str, scheme: str) -> None:
    every = ("file", "s3", "https", "http")
    assert objection(uri, input_schemes=(scheme,)) is None
    assert "is not allowed here" in objection(uri, input_schemes=[each for each in every if each != scheme])


def test_buckets_can_be_listed() -> None:
    assert objection("s3://icons/k", input_buckets=("icons",)) is None
    assert "the bucket icons2 is not allowed here" in objection("s3://icons2/k", input_buckets=("icons",))


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "allowed/inner").mkdir(parents=True)
        (tmp_path / "allowed2").mkdir()
        (tmp_path / "secret.png").touch()
        (tmp_path / "allowed/link.png").symlink_to(tmp_path / "secret.png")
        (tmp_path / "allowed/out").symlink_to(tmp_path)
        (tmp_path / "allowed/own.png").symlink_to("inner/x.png")
        (tmp_path / "way-in").symlink_to(tmp_path / "allowed")
        return tmp_path

    @pytest.mark.parametrize("path", ["allowed/x.png", "allowed/inner/x.png", "allowed/own.png", "way-in/x.png"])
    def test_inside(self, folder: Path, path: str) -> None:
        assert objection(f"{folder}/{path}", input_folders=(folder / "allowed",)) is None

    @pytest.mark.parametrize(
        "path",
        ["secret.png", "allowed2/x.png", "allowed/../secret.png", "allowed/link.png", "allowed/out/x", "way-in/out"],
    )
    def test_outside(self, folder: Path, path: str) -> None:
        said = objection(f"{folder}/{path}", input_folders=(folder / "allowed",))
        assert "is not in a folder that jobs may read" in said

    @pytest.mark.parametrize("path", ["/", "//etc/passwd", "/proc/self/environ", "/a\x00b", "~nobody-knows/x"])
    def test_odd_paths(self, folder: Path, path: str) -> None:
        assert objection(path, input_folders=(folder / "allowed",)) is not None

    def test_an_allowed_folder_may_itself_be_a_link(self, folder: Path) -> None:
        assert objection(f"{folder}/allowed/x.png", input_folders=(folder / "way-in",)) is None


@pytest.mark.parametrize(
    ("place", "allowed"),
    [
        ("s3://icons/team", True),
        ("s3://icons/team/a/b", True),
        ("s3://icons", False),
        ("s3://icons/teams", False),
        ("s3://other/team", False),
        ("/srv/out", True),
        ("/srv/out/a", True),
        ("/srv/output", False),
        ("/srv", False),
        ("/srv/out/../x", False),
    ],
)
def test_places_to_write_to_can_be_listed(place: str, allowed: bool) -> None:
    access = Access(Settings(output_roots=("s3://icons/team", "/srv/out/")))
    assert (access.objection_to_writing(place) is None) is allowed
    assert Access(Settings()).objection_to_writing(place) is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PIXELMILL_INPUT_SCHEMES", "file,ftp"),
        ("PIXELMILL_INPUT_HOSTS", "https://example.com"),
        ("PIXELMILL_INPUT_HOSTS", "example.com/x"),
        ("PIXELMILL_INPUT_HOSTS", "*.*"),
        ("PIXELMILL_INPUT_PRIVATE_HOSTS", "perhaps"),
    ],
)
def test_a_limit_with_a_mistake_is_refused(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidInput, match=variable):
        load_settings()


def test_limits_reach_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        input_schemes=("s3", "http"),
        input_hosts=("*.Example.com",),
        input_folders=("/a", "/b"),
        input_private_hosts=True,
        output_roots=("s3://icons/team", "/srv/out"),
    )
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


# -- web addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("https://example.com", "example.com", 443, "/"),
        ("https://EXAMPLE.com.:8443/a?b#c", "example.com", 8443, "/a?b"),
        ("http://192.0.2.1/x", "192.0.2.1", 80, "/x"),
        ("https://[2001:DB8:0::1]:443/", "2001:db8::1", 443, "/"),
        ("https://xn--mnchen-3ya.de/?q", "xn--mnchen-3ya.de", 443, "/?q"),
    ],
)
def test_a_web_address(text: str, host: str, port: int, target: str) -> None:
    address = WebAddress.parse(text)
    assert (address.host, address.port, address.target) == (host, port, target)
    assert WebAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://", "must name a host"),
        ("https:///x", "must name a host"),
        ("https://user@host/", "user name or password"),
        ("https://user:pass@host/", "user name or password"),
        ("https://good.example\\@evil.example/", "backslashes"),
        ("https://good.example%40evil.example/", "letters, digits"),
        ("https://a b/", "%20 for a blank"),
        ("https://host/a\tb", "printable ASCII"),
        ("https://host/a\r\nX-Header: 1", "printable ASCII"),
        ("https://münchen.de/", "printable ASCII"),
        ("https://ｌocalhost/", "printable ASCII"),
        ("https://host:22/", "port 80, 443 or one from 1024"),
        ("https://host:99999/", "port"),
        ("https://host:8x/", "port"),
        ("https://[::1/", "[address]"),
        ("https://[::1]x/", "[address]"),
        ("https://[fe80::1%25eth0]/", "network interface"),
        ("https://2130706433/", "four decimal numbers"),
        ("https://0x7f.1/", "four decimal numbers"),
        ("https://0177.0.0.1/", "four decimal numbers"),
        ("https://127.1/", "four decimal numbers"),
        ("https://1.2.3.256/", "four decimal numbers"),
        ("https://-a.example/", "letters, digits"),
        ("https://a..example/", "letters, digits"),
    ],
)
def test_no_web_address(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="must") as refusal:
        WebAddress.parse(text)
    assert said in str(refusal.value)


@given(st.text("abc019.-_:/?#@[]%\\ xX", max_size=30))
def test_every_reader_of_an_accepted_address_sees_the_same_host(rest: str) -> None:
    from urllib.parse import urlsplit

    try:
        address = WebAddress.parse(f"https://{rest}")
    except ValueError:
        return
    assert urlsplit(f"https://{rest}").hostname.removesuffix(".") == address.host or ":" in address.host
    assert WebAddress.parse(str(address)) == address


# -- URIs in documents -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "folder", "uri"),
    [
        ("a.png", "https://h.example/jobs", "https://h.example/jobs/a.png"),
        ("../a b.png", "https://h.example/jobs", "https://h.example/a%20b.png"),
        ("../../../a.png", "https://h.example", "https://h.example/a.png"),
        ("a.png?v=1 2", "https://h.example/jobs", "https://h.example/jobs/a.png?v=1%202"),
        ("https://x.example/a?b", "s3://bucket/jobs", "https://x.example/a?b"),
        ("javascript:alert(1)", "https://h.example", "https://h.example/javascript:alert(1)"),
        ("/data/a.png", "https://h.example/jobs", "/data/a.png"),
        ("~nobody-knows/a.png", "/jobs", "/jobs/~nobody-knows/a.png"),
        ("../../../a.png", "s3://bucket/jobs", "s3://bucket/a.png"),
    ],
)
def test_relative_uris(text: str, folder: str, uri: str) -> None:
    assert uris.resolve(text, folder) == uri


def test_a_query_is_not_shown_and_names_nothing() -> None:
    signed = "https://h.example/a/red%20fox.png?sig=s3cr3t#part"
    assert uris.shown(signed) == "https://h.example/a/red%20fox.png"
    assert uris.folder_of(signed) == "https://h.example/a"
    assert uris.stem_of(signed) == "red%20fox"
    assert uris.shown("s3://bucket/a?b#c") == "s3://bucket/a?b#c"  # legal in keys
