"""Finals put straight into a bucket, as a script would: one request an image, nothing checked, nothing recorded."""

import io
import os
from typing import Any

from PIL import Image


class PlainBucket:
    """Below an `s3://bucket/prefix`. May be pickled; each process makes its own client."""

    def __init__(self, uri: str) -> None:
        self._bucket, _, self._prefix = uri.removeprefix("s3://").partition("/")
        self._client: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}

    def put(self, name: str, image: Image.Image) -> None:
        if self._client is None:
            import boto3

            self._client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"])
        file = io.BytesIO()
        image.save(file, "PNG")
        key = f"{self._prefix}/{name}.png"
        self._client.put_object(Bucket=self._bucket, Key=key, Body=file.getvalue(), ContentType="image/png")
