"""Making the bucket of an S3 server that starts empty."""

import pytest

from storage.objects.make_bucket import main
from tests.support.servers.s3 import S3Server


@pytest.fixture(params=["rclone", "moto"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    chosen: S3Server = request.getfixturevalue(f"{request.param}_server")
    for name, value in chosen.environment.items():
        monkeypatch.setenv(name, value)
    return chosen


def test_a_bucket_is_made_once(server: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["s3://new-bucket"]) == 0
    assert capsys.readouterr().out == "s3://new-bucket: made\n"
    assert main(["s3://new-bucket"]) == 0
    assert capsys.readouterr().out == "s3://new-bucket: is there\n"


def test_a_server_that_refuses_the_credentials_is_no_success(
    rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**rclone_server.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}.items():
        monkeypatch.setenv(name, value)
    assert main(["s3://new-bucket"]) == 1
    assert "access" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["s3://bucket/folder"], ["/tmp/folder"]])
def test_what_names_no_bucket_is_refused(arguments: list[str]) -> None:
    assert main(arguments) == 2
