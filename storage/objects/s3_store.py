"""Artefacts in S3 or any server that speaks its protocol. The only module that imports boto3 (with `s3_errors`)."""

import base64
import hashlib
import itertools
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from configs.failures import RestartPolicy
from storage.objects.artefacts import (
    TRIAL,
    ContentConflict,
    DamagedObject,
    ListedObject,
    MissingObject,
    StoredObject,
    StoreError,
    TooLarge,
    note_retry,
)
from storage.objects.keys import check_key, sha256_hex
from storage.objects.s3_errors import CredentialsRefused, is_missing, is_taken, no_s3_server, not_offered, store_errors

if TYPE_CHECKING:
    from botocore.loaders import Loader
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

log = logging.getLogger(__name__)

_MB = 1 << 20  # the smallest part S3 takes is 5 of these
_DIGEST = "sha256"  # name of the metadata entry: x-amz-meta-sha256
_RETRIES = RestartPolicy(first_seconds=1.0, longest_seconds=20.0)
_HASTY_ATTEMPTS = 2  # where a person waits
_RACE_ATTEMPTS = 5  # of a put that a concurrent one disturbs
_T = TypeVar("_T")

_client_lock = threading.Lock()


def _renew_lock() -> None:
    global _client_lock  # noqa: PLW0603 - another thread may have held it when the process forked
    _client_lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


class S3Options(NamedTuple):
    """Access to the server. Credentials come from the ordinary AWS variables or profile."""

    endpoint_url: str | None = None  # None: AWS
    attempts: int = 8  # of one request
    multipart_mb: int = 16  # larger objects go up in parts
    connections: int = 16
    page_size: int = 1000  # objects in one answer of a listing; S3 gives no more


class _Head(NamedTuple):
    size: int
    sha256: str | None  # None: the server keeps no metadata, or another program stored the object
    etag: str


class S3Store:
    """An ArtefactStore in a bucket. May be pickled, and used after a fork: each process makes its own client."""

    def __init__(self, bucket: str, prefix: str = "", options: S3Options | None = None) -> None:
        """Open the store without a request. `prefix` may be empty."""
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._options = options or S3Options()
        self._made: tuple[int, S3Client] | None = None
        self._has_told = False  # of a failure that was waited out
        self._heeds_conditions: bool | None = None  # whether the server does `If-None-Match`; None: not known yet

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}

    @property
    def root(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def check_writable(self, *, patient: bool = True) -> None:
        """Write an object and remove it."""
        attempts = self._options.attempts if patient else _HASTY_ATTEMPTS
        store = S3Store(self._bucket, self._prefix, self._options._replace(attempts=attempts))
        key = f"trial-{secrets.token_hex(8)}.txt"
        store.replace(key, TRIAL, content_type="text/plain")
        store.delete(key)

    def put(self, key: str, data: bytes, *, sha256: str, content_type: str) -> StoredObject:
        """Store `data` unless the same content is there. Raises ContentConflict if other content is.

        A server that ignores `If-None-Match` leaves a gap between the look and the write, in which a concurrent put
        of the same key may be overwritten. One that heeds it is not asked beforehand whether the key is free.
        """
        if sha256_hex(data) != sha256:
            raise DamagedObject(f"{key}: the bytes to store do not match the digest given with them.")
        # The body of a large object would travel before the server refuses it.
        look_first = len(data) > self._options.multipart_mb * _MB
        for _ in range(_RACE_ATTEMPTS):
            if look_first or not self._heeds_conditions:
                head = self._head(key)
                if head is not None:
                    self._refuse_other_content(key, head, data, sha256)
                    return StoredObject(key, len(data), created=False)
            if self._upload(key, data, sha256, content_type, only_new=True):
                if self._heeds_conditions is None:
                    # The same bytes once more: a server that takes them would take other ones too.
                    again = self._upload(key, data, sha256, content_type, only_new=True)
                    self._heeds_conditions = not again
                return StoredObject(key, len(data), created=True)
            look_first = True
        raise StoreError(f"{self.uri(key)}: other writers kept coming first; try again.", retryable=True)

    def replace(self, key: str, data: bytes, *, content_type: str) -> StoredObject:
        """Store `data` atomically, replacing other content. `created` is always True."""
        self._upload(key, data, sha256_hex(data), content_type, only_new=False)
        return StoredObject(key, len(data), created=True)

    def publish(self, source_key: str, key: str, *, content_type: str) -> None:
        """Copy on the server, with type and digest; send the bytes where the server cannot copy."""

        def copy() -> bool:
            source: CopySourceTypeDef = {"Bucket": self._bucket, "Key": self._name(source_key)}
            try:
                self._client().copy_object(Bucket=self._bucket, Key=self._name(key), CopySource=source)
            except ClientError as error:
                if not not_offered(error):
                    raise
                return False
            return True

        if not self._call(source_key, copy):
            self.replace(key, self.get(source_key), content_type=content_type)

    def sync(self) -> None:
        """Do nothing: S3 answers once an object is safe."""

    def get(self, key: str, *, sha256: str | None = None, max_bytes: int | None = None) -> bytes:
        """Return the object's bytes, checked against `sha256` or the digest in its metadata. Raises MissingObject.

        Raises TooLarge, before the body is read, for an object larger than `max_bytes`.
        """
        data, kept = self._call(key, lambda: self._read(key, max_bytes))
        expected = sha256 or kept
        if expected is not None and sha256_hex(data) != expected:
            raise DamagedObject(
                f"{self.uri(key)} is damaged: its {len(data)} bytes are not those that were stored. Delete it."
            )
        return data

    def exists(self, key: str) -> bool:
        return self._head(key) is not None

    def list(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield (key, size in bytes) of each object whose key starts with `prefix`, in the server's order."""
        return ((entry.key, entry.size) for entry in self.entries(prefix))

    def entries(self, prefix: str) -> Iterator[ListedObject]:
        """Yield the same objects with the time at which each was written."""
        if prefix:
            check_key(prefix.rstrip("/"))
        wanted: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        wanted["MaxKeys"] = self._options.page_size
        while True:
            page = self._call(prefix, lambda: self._client().list_objects_v2(**wanted))
            if "IsTruncated" not in page:  # a page of another kind would read as an empty bucket
                raise no_s3_server(self.root, self._server())
            for entry in page.get("Contents", ()):
                yield ListedObject(entry["Key"].removeprefix(self._prefix), entry["Size"], entry["LastModified"])
            if not page["IsTruncated"]:
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""
        with suppress(MissingObject):  # AWS never answers this, some servers do
            self._call(key, lambda: self._client().delete_object(Bucket=self._bucket, Key=self._name(key)))

    def link(self, key: str, seconds: int) -> str | None:
        target = {"Bucket": self._bucket, "Key": self._name(key)}
        return self._call(
            key, lambda: self._client().generate_presigned_url("get_object", Params=target, ExpiresIn=seconds)
        )

    def uri(self, key: str) -> str:
        return f"{self.root}/{key}"

    def make_bucket(self) -> bool:
        """Make the bucket in the client's region unless these credentials reach it. Returns whether it did."""

        def make() -> bool:
            client = self._client()
            region: Any = client.meta.region_name
            elsewhere: dict[str, Any] = (
                {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            )
            try:
                client.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if not is_missing(error):
                    raise
                client.create_bucket(Bucket=self._bucket, **elsewhere)
                return True
            return False

        return self._call("", make)

    # -- requests ----------------------------------------------------------------------------------------------------
    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _call(self, key: str, operation: Callable[[], _T]) -> _T:
        """Repeat a call that may succeed later, with growing jittered pauses: half a minute in all with 8 tries.

        botocore's own tries last 3 seconds at most and share a quota of 35 in a process (measured with 1.44), which is
        less than the restart of a server takes, and they leave a body that breaks off to the caller.
        """
        is_renewed = False
        for attempt in itertools.count(1):
            try:
                with store_errors(self.uri(key), self._server):
                    return operation()
            except CredentialsRefused:
                if is_renewed:
                    raise
                is_renewed = True
                self._made = None  # the profile may hold new ones: a client reads it once
            except StoreError as error:
                if not error.retryable or attempt >= self._options.attempts:
                    raise
                if not self._has_told:  # once, so that no command is silent for long
                    self._has_told = True
                    log.warning("%s Trying again, up to %d times.", error, self._options.attempts)
                time.sleep(_RETRIES.jittered_pause(attempt))
            note_retry()
        raise AssertionError("unreachable: the last try returns or raises")

    def _server(self) -> str:
        """Return the server's name for messages; a profile may set its address too."""
        made = self._made
        endpoint = self._options.endpoint_url if made is None else made[1].meta.endpoint_url
        of_aws = endpoint is None or urlsplit(endpoint).netloc.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        return "AWS S3" if of_aws else str(endpoint)

    def _client(self) -> "S3Client":
        with _client_lock:  # making a session is not thread-safe
            if self._made is None or self._made[0] != os.getpid():
                self._made = (os.getpid(), _make_client(self._options))
            return self._made[1]

    def _head(self, key: str) -> _Head | None:
        try:
            answer = self._call(key, lambda: self._client().head_object(Bucket=self._bucket, Key=self._name(key)))
        except MissingObject:
            return None
        if "ETag" not in answer:
            raise no_s3_server(self.uri(key), self._server())
        return _Head(answer["ContentLength"], answer.get("Metadata", {}).get(_DIGEST), answer["ETag"].strip('"'))

    def _refuse_other_content(self, key: str, head: _Head, data: bytes, sha256: str) -> None:
        same = head.size == len(data)
        if same and head.sha256 is not None:
            same = head.sha256 == sha256
        elif same and head.etag != _md5(data).hex():
            # Neither metadata nor a plain ETag to go by (parts or encryption change it): look at the bytes.
            same = sha256_hex(self.get(key)) == sha256
        if not same:
            raise ContentConflict(f"{self.uri(key)} holds other content already; delete it if it is not wanted.")

    def _upload(self, key: str, data: bytes, sha256: str, content_type: str, *, only_new: bool) -> bool:
        """Return False if another writer came first (`only_new`). The bytes are checked on their arrival."""
        target: dict[str, Any] = {"Bucket": self._bucket, "Key": self._name(key)}
        description = {"ContentType": content_type, "Metadata": {_DIGEST: sha256}}
        send = self._send_parts if len(data) > self._options.multipart_mb * _MB else self._send_whole

        def write() -> bool | None:
            try:
                return send(target, description, data, {"IfNoneMatch": "*"} if only_new else {})
            except ClientError as error:
                if only_new and is_taken(error):
                    return None
                if only_new and not_offered(error):
                    return send(target, description, data, {})
                raise

        confirmed = self._call(key, write)
        if confirmed is False:
            self._check_arrival(key, len(data), sha256)
        return confirmed is not None

    def _send_whole(self, target: dict[str, Any], description: Any, data: bytes, condition: dict[str, Any]) -> bool:
        """Return whether the ETag of the answer proves that these bytes have arrived."""
        md5 = _md5(data)
        sent = base64.b64encode(md5).decode()  # the one checksum that every server verifies
        answer = self._client().put_object(**target, **description, **condition, Body=data, ContentMD5=sent)
        return answer.get("ETag", "").strip('"') == md5.hex()

    def _send_parts(self, target: dict[str, Any], description: Any, data: bytes, condition: dict[str, Any]) -> bool:
        """Return False: the ETag of an object in parts is not that of its bytes."""
        client, size = self._client(), self._options.multipart_mb * _MB
        upload = {**target, "UploadId": client.create_multipart_upload(**target, **description)["UploadId"]}
        try:
            parts: list[Any] = []
            for number, start in enumerate(range(0, len(data), size), start=1):
                part = data[start : start + size]
                md5 = base64.b64encode(_md5(part)).decode()
                sent = client.upload_part(**upload, PartNumber=number, Body=part, ContentMD5=md5)
                parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            client.complete_multipart_upload(**upload, **condition, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(BotoCoreError, ClientError):  # the first error is the one to report
                client.abort_multipart_upload(**upload)  # servers expire those that stay
            raise
        return False

    def _check_arrival(self, key: str, size: int, sha256: str) -> None:
        head = self._head(key)
        if head is None or head.size != size or head.sha256 not in (None, sha256):
            found = "nothing" if head is None else f"{head.size} bytes"
            raise StoreError(f"{self.uri(key)}: stored {size} bytes, found {found}; try again.", retryable=True)

    def _read(self, key: str, max_bytes: int | None) -> tuple[bytes, str | None]:
        answer = self._client().get_object(Bucket=self._bucket, Key=self._name(key))
        # closing(): as a context manager the body would hand out the raw stream, whose errors are not botocore's.
        with closing(answer["Body"]) as body:
            if max_bytes is not None and answer["ContentLength"] > max_bytes:
                raise TooLarge(f"{self.uri(key)} has {answer['ContentLength']} bytes; at most {max_bytes} are read.")
            return body.read(), answer.get("Metadata", {}).get(_DIGEST)


@cache
def _descriptions() -> "Loader":
    """Return botocore's service descriptions, shared by all clients of a process: reading the JSON takes 0.1 s."""
    loader: Loader = botocore.session.Session().get_component("data_loader")
    return loader


def _make_client(options: S3Options) -> "S3Client":
    session = botocore.session.Session()
    session.register_component("data_loader", _descriptions())
    # Other servers seldom answer to bucket.host names; a profile with another setting is left alone.
    style = {} if not options.endpoint_url or "s3" in session.get_scoped_config() else {"addressing_style": "path"}
    config = Config(
        signature_version="s3v4",  # also of addresses that are signed for browsers, which default to an older one
        retries={"mode": "standard", "total_max_attempts": 2},  # for stale connections; the rest is `_call`
        max_pool_connections=options.connections,
        connect_timeout=10,
        read_timeout=60,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",  # trailing checksums are unknown to many servers
        response_checksum_validation="when_required",
        parameter_validation=False,  # a sixth of the time of a request; ours are typed, and keys are checked
        user_agent=f"pixelmill Boto3/{boto3.__version__}",  # botocore puts its own together twice a request: 7 % of it
        s3=style,  # type: ignore[arg-type]
    )
    client = boto3.session.Session(botocore_session=session).client(
        "s3", endpoint_url=options.endpoint_url, config=config
    )
    client.meta.events.register_last("before-call.s3", _send_at_once)
    return client


def _send_at_once(params: dict[str, Any], **_: object) -> None:
    """Send a body, a few megabytes at most, along with its headers: asking first costs a round trip.

    As bytes it goes out at once, as a file in pieces of 16 KiB.
    """
    params["headers"].pop("Expect", None)
    if isinstance(params["body"], BytesIO):
        params["body"] = params["body"].getvalue()


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
