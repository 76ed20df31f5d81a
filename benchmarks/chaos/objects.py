"""What lies in a store, read around it: files of a folder, or a bucket by a client of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol


class Objects(Protocol):
    """Reads the objects under a job's output."""

    def read(self, key: str) -> bytes | None:
        """None: it is not there."""
        ...

    def keys(self) -> Iterator[str]: ...


class FolderObjects:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes | None:
        path = self._folder / key
        return path.read_bytes() if path.is_file() else None

    def keys(self) -> Iterator[str]:
        return (path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file())


class BucketObjects:
    """Speaks to the server itself, not to a proxy before it."""

    def __init__(self, endpoint_url: str, access_key: str, secret_key: str, bucket: str) -> None:
        import boto3
        from botocore.config import Config

        session = boto3.session.Session(access_key, secret_key, region_name="us-east-1")
        style = Config(s3={"addressing_style": "path"})
        self._client: Any = session.client("s3", endpoint_url=endpoint_url, config=style)
        self._bucket = bucket

    def read(self, key: str) -> bytes | None:
        from botocore.exceptions import ClientError

        try:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                return None
            raise
        return body

    def keys(self) -> Iterator[str]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket):
            yield from (str(entry["Key"]) for entry in page.get("Contents", ()))
