"""What only S3 can do or suffer: parts, conditions, credentials, outages, forks."""

import multiprocessing
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import Any

import boto3
import pytest

from storage.objects.artefacts import ContentConflict, DamagedObject, MissingObject, StoreError
from storage.objects.keys import sha256_hex
from storage.objects.s3_store import S3Options, S3Store
from tests.storage.conftest import OpenS3
from tests.support.servers.s3 import BUCKET, S3Server, rclone_s3
from tests.support.servers.web_server import handled_by

BIG = os.urandom(1 << 20) * 6  # two parts of 5 MiB and less


def put(store: Any, key: str, data: bytes) -> bool:
    return bool(store.put(key, data, sha256=sha256_hex(data), content_type="image/png").created)


def raw_client(server: S3Server) -> Any:
    return boto3.session.Session(server.access_key, server.secret_key, region_name="us-east-1").client(
        "s3", endpoint_url=server.endpoint_url
    )


def name_of(store: Any, key: str) -> str:
    return str(store.uri(key)).removeprefix(f"s3://{BUCKET}/")


@pytest.fixture(params=["rclone", "moto"])
def open_s3(request: pytest.FixtureRequest) -> OpenS3:
    opened: OpenS3 = request.getfixturevalue(f"open_{request.param}")
    return opened


def test_large_objects_go_up_in_parts(open_s3: OpenS3) -> None:
    store = open_s3(s3_multipart_mb=5)
    assert put(store, "big.bin", BIG)
    assert store.get("big.bin") == BIG
    assert not put(store, "big.bin", BIG)
    with pytest.raises(ContentConflict):
        put(store, "big.bin", BIG[::-1])


def test_type_and_digest_lie_with_the_object_and_its_copy(open_moto: OpenS3, moto_server: S3Server) -> None:
    store = open_moto(s3_multipart_mb=5)
    put(store, "small.png", b"pixels")
    put(store, "big.bin", BIG)
    store.publish("small.png", "final.png", content_type="image/png")
    client = raw_client(moto_server)
    for key, data in {"small.png": b"pixels", "big.bin": BIG, "final.png": b"pixels"}.items():
        head = client.head_object(Bucket=BUCKET, Key=name_of(store, key))
        assert head["Metadata"] == {"sha256": sha256_hex(data)}
        assert head["ContentType"] == "image/png"


def test_get_checks_against_the_digest_in_the_metadata(open_moto: OpenS3, moto_server: S3Server) -> None:
    store = open_moto()
    raw_client(moto_server).put_object(
        Bucket=BUCKET, Key=name_of(store, "a.png"), Body=b"pix", Metadata={"sha256": sha256_hex(b"pixels")}
    )
    with pytest.raises(DamagedObject, match="damaged"):
        store.get("a.png")


class Overtaken(S3Store):
    """Another writer comes between the look and the write."""

    other: bytes = b""

    def _head(self, key: str) -> Any:
        head = super()._head(key)
        if self.other:
            other, self.other = self.other, b""
            self.replace(key, other, content_type="image/png")
        return head


@pytest.mark.parametrize("size", [6, len(BIG)])
@pytest.mark.parametrize("same", [True, False])
def test_a_writer_that_is_overtaken_overwrites_nothing(
    open_moto: OpenS3, moto_server: S3Server, size: int, same: bool
) -> None:
    store = Overtaken(BUCKET, open_moto().root.rpartition("/")[2], S3Options(moto_server.endpoint_url, multipart_mb=5))
    mine, store.other = b"a" * size, (b"a" if same else b"b") * size
    if same:
        assert not put(store, "a.png", mine)
    else:
        with pytest.raises(ContentConflict):
            put(store, "a.png", mine)
    assert store.get("a.png") == (b"a" if same else b"b") * size


def test_a_server_that_heeds_conditions_is_not_asked_whether_a_key_is_free(open_moto: OpenS3) -> None:
    store = open_moto()
    assert put(store, "first.png", b"first")  # learns it
    assert requests_of(store, lambda: put(store, "second.png", b"second")) == ["PutObject"]
    assert requests_of(store, lambda: put(store, "second.png", b"second")) == ["PutObject", "HeadObject"]
    with pytest.raises(ContentConflict):
        put(store, "second.png", b"other")
    assert store.get("second.png") == b"second"


def test_a_server_that_ignores_conditions_is_asked_whether_a_key_is_free(open_rclone: OpenS3) -> None:
    store = open_rclone()
    assert put(store, "first.png", b"first")
    assert requests_of(store, lambda: put(store, "second.png", b"second")) == ["HeadObject", "PutObject"]
    with pytest.raises(ContentConflict):
        put(store, "second.png", b"other")
    assert store.get("second.png") == b"second"


def test_a_body_is_sent_without_asking_first(open_s3: OpenS3) -> None:
    store, headers = open_s3(), list[str]()
    put(store, "first.png", b"first")

    def note(request: Any, **_: object) -> None:
        headers.extend(name.lower() for name in request.headers)

    store._client().meta.events.register("before-send.s3", note)  # type: ignore[attr-defined]
    put(store, "second.png", b"second")
    assert "content-md5" in headers
    assert "expect" not in headers


def requests_of(store: Any, work: Callable[[], object]) -> list[str]:
    """The operations that the store asks of the server meanwhile."""
    asked: list[str] = []

    def note(params: object, model: Any, **_: object) -> None:
        asked.append(model.name)

    events = store._client().meta.events
    events.register("before-call.s3", note)
    try:
        work()
    finally:
        events.unregister("before-call.s3", note)
    return asked


def test_a_refused_upload_leaves_no_parts_behind(open_moto: OpenS3, moto_server: S3Server) -> None:
    store = open_moto(s3_multipart_mb=1)  # smaller parts than S3 takes: the server refuses to join them
    with pytest.raises(StoreError):
        put(store, "big.bin", BIG)
    assert not store.exists("big.bin")
    uploads = raw_client(moto_server).list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    assert name_of(store, "big.bin") not in {upload["Key"] for upload in uploads}


def test_long_listings_come_page_by_page(open_s3: OpenS3) -> None:
    store: Any = open_s3()
    for number in range(7):
        put(store, f"k/{number}.png", b"x")
    store._options = S3Options(store._options.endpoint_url, page_size=3)
    assert sorted(key for key, _ in store.list("k/")) == [f"k/{number}.png" for number in range(7)]


def test_a_size_limit_is_kept_before_the_body_is_read(open_s3: OpenS3) -> None:
    store = open_s3()
    assert isinstance(store, S3Store)
    put(store, "a.png", b"x" * 100)
    assert store.get("a.png", max_bytes=100) == b"x" * 100
    with pytest.raises(StoreError, match="at most 99"):
        store.get("a.png", max_bytes=99)


def test_errors_say_what_to_fix(open_s3: OpenS3) -> None:
    elsewhere = open_s3(bucket="no-such-bucket")
    for use in (lambda: put(elsewhere, "a.png", b"x"), lambda: elsewhere.get("a.png"), lambda: [*elsewhere.list("")]):
        with pytest.raises(StoreError, match=r"no-such-bucket.*create it or correct its name") as caught:
            use()
        assert not isinstance(caught.value, MissingObject)
        assert not caught.value.retryable


def test_a_wrong_secret_is_named_but_not_shown(open_rclone: OpenS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-private")
    with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY") as caught:
        open_rclone().get("a.png")
    assert not caught.value.retryable
    assert "wrong-and-private" not in str(caught.value)


def test_no_credentials(open_moto: OpenS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="no complete S3 credentials"):
        open_moto().exists("a.png")


def test_a_server_that_is_away_may_be_tried_again(open_moto: OpenS3) -> None:
    store = open_moto(s3_endpoint_url="http://127.0.0.1:9", s3_attempts=1)
    with pytest.raises(StoreError, match=r"no answer from http://127\.0\.0\.1:9") as caught:
        store.get("a.png")
    assert caught.value.retryable


@pytest.mark.e2e
def test_an_outage_is_sat_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server dies, and another comes up in its place while a put is waiting."""
    with rclone_s3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        store = S3Store(BUCKET, "p", S3Options(endpoint_url=server.endpoint_url, attempts=8))
        put(store, "a.png", b"pixels")
        server.process.kill()
        server.process.wait()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(put, store, "b.png", b"pixels")
            with rclone_s3(int(server.endpoint_url.rpartition(":")[2])):
                assert waiting.result(timeout=120)
                assert store.get("b.png") == b"pixels"


class _BreaksOffOnce(BaseHTTPRequestHandler):
    """Answers any GET with the same ten bytes, the first time with only half of them."""

    answers = 0

    def do_GET(self) -> None:
        _BreaksOffOnce.answers += 1
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"0123456789"[: 5 if _BreaksOffOnce.answers == 1 else 10])

    def log_message(self, *_: object) -> None:
        pass


def test_a_body_that_breaks_off_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with handled_by(_BreaksOffOnce) as port:
        store = S3Store("bucket", options=S3Options(endpoint_url=f"http://127.0.0.1:{port}"))
        assert store.get("a/b.png") == b"0123456789"
    assert _BreaksOffOnce.answers == 2


def _child_reads(store: S3Store, queue: Any) -> None:
    queue.put(store.get("a.png"))


def test_a_store_in_use_survives_a_fork(open_moto: OpenS3) -> None:
    store = open_moto()
    put(store, "a.png", b"pixels")  # the parent's client exists now
    context: Any = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child_reads, args=(store, queue))
    child.start()
    assert queue.get(timeout=60) == b"pixels"
    child.join(60)
    assert store.get("a.png") == b"pixels"


def test_a_pickled_store_carries_no_client(open_moto: OpenS3) -> None:
    store = open_moto()
    put(store, "a.png", b"pixels")
    assert pickle.loads(pickle.dumps(store)).get("a.png") == b"pixels"


def test_a_server_that_does_not_answer_is_named_while_it_is_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    store = S3Store(BUCKET, "p", S3Options(endpoint_url="http://127.0.0.1:9", attempts=3))
    with pytest.raises(StoreError):
        store.get("a.png")
    (said,) = [record.getMessage() for record in caplog.records if record.name == "storage.objects.s3_store"]
    assert "no answer from http://127.0.0.1:9" in said
    assert said.endswith("Trying again, up to 3 times.")
