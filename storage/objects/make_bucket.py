"""Make a bucket unless it exists: `python -m storage.objects.make_bucket s3://bucket`, for S3 servers that start empty.

Exit status 0: it is there, and these credentials reach it; 1: it is not; 2: the arguments or settings are wrong.
"""

import sys

from configs.documents.problems import InvalidInput
from configs.settings.settings import load_settings
from storage.objects.artefacts import StoreError
from storage.objects.open_store import S3Location, parse_location, s3_store


def main(arguments: list[str]) -> int:
    """Make the bucket. Returns the exit status."""
    try:
        (uri,) = arguments
        location = parse_location(uri)
        if not isinstance(location, S3Location) or location.key:
            raise ValueError(f"{uri} names no bucket")
        settings = load_settings()
    except (InvalidInput, StoreError, ValueError) as error:
        return _say(f"{error}. Write: python -m storage.objects.make_bucket s3://bucket", 2)
    try:
        made = s3_store(location, settings).make_bucket()
    except StoreError as error:
        return _say(str(error), 1)
    return _say(f"{uri}: {'made' if made else 'is there'}", 0)


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
