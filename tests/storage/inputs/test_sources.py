"""Reading what a user points at."""

import subprocess
import sys
from pathlib import Path

import pytest

from configs.settings.settings import Settings
from storage.inputs.sources import read_uri
from storage.objects.artefacts import MissingObject, StoreError
from tests.storage.conftest import OpenS3
from tests.support.servers.s3 import S3Server


def test_files_are_read_by_path_and_by_uri(tmp_path: Path) -> None:
    file = tmp_path / "my job.yaml"
    file.write_bytes(b"name: foxes")
    for uri in (file, str(file), file.as_uri()):
        assert read_uri(uri, Settings()) == b"name: foxes"


def test_objects_are_read(open_moto: OpenS3, moto_server: S3Server) -> None:
    store = open_moto()
    store.replace("in/fox.png", b"pixels", content_type="image/png")
    uri = store.uri("in/fox.png")
    assert read_uri(uri, moto_server.settings(), max_bytes=6) == b"pixels"
    with pytest.raises(StoreError, match="at most 5"):
        read_uri(uri, moto_server.settings(), max_bytes=5)
    with pytest.raises(MissingObject, match=r"none\.png"):
        read_uri(store.uri("in/none.png"), moto_server.settings())


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingObject, match=r"none\.yaml is not there"):
        read_uri(tmp_path / "none.yaml", Settings())
    with pytest.raises(MissingObject, match="is a folder"):
        read_uri(tmp_path, Settings())
    with pytest.raises(StoreError, match="not an object"):
        read_uri("s3://bucket", Settings())


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"x" * 100)
    assert len(read_uri(tmp_path / "table.csv", Settings(), max_bytes=100)) == 100
    with pytest.raises(StoreError, match="has 100 bytes; at most 99"):
        read_uri(tmp_path / "table.csv", Settings(), max_bytes=99)


@pytest.mark.parts
def test_folders_are_served_without_boto3_pyarrow_or_sql() -> None:
    script = (
        "import sys, storage.objects.open_store, storage.inputs.sources, storage.images.images;"
        "from configs.settings.settings import Settings;"
        "storage.objects.open_store.open_store('/tmp', Settings());"
        "print(sorted({'boto3', 'botocore', 'pyarrow', 'sqlalchemy', 'torch', 'numpy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
