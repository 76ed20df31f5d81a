"""Errors and tracebacks lose the secrets that they picked up."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.settings.privacy import without_secrets


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgresql://me:hunter2@db/mill is away", "postgresql://***@db/mill is away"),
        ("GET https://h/a.png?X-Amz-Signature=abc&x=1 failed", "GET https://h/a.png?*** failed"),
        ("'https://h/a.png#frag'", "'https://h/a.png?***'"),
        ("https://me:pw@h/a.png?sig=abc", "https://***@h/a.png?***"),
        ("/a.png?token=abc&page=2", "/a.png?token=***&page=2"),
        ("key AKIAIOSFODNN7EXAMPLE is unknown", "key AKIA*** is unknown"),
        ("https://h/a.png is fine, is it?", "https://h/a.png is fine, is it?"),
        ("s3://bucket/key?part", "s3://bucket/key?part"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, left: str) -> None:
    assert without_secrets(text) == left


def test_what_the_environment_calls_a_secret_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_recognizable")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    monkeypatch.setenv("PIXELMILL_LEDGER_URL", "postgresql://me:p%40ss/w0rd-long@db/mill")
    monkeypatch.setenv("SOME_TOKEN", "short")
    text = "hf_recognizable wJalrXUtnFEMI/K7MDENG p%40ss/w0rd-long p@ss/w0rd-long short"
    assert without_secrets(text) == "*** *** *** *** short"


@given(st.text("htps:/?#@=& ax'", max_size=60))
def test_a_masked_text_is_masked_for_good(text: str) -> None:
    once = without_secrets(text)
    assert without_secrets(once) == once


@pytest.mark.parametrize("part", ["http://", "://a:", "?token=", "https://x:y"])
def test_long_texts_take_no_long_time(part: str) -> None:
    start = time.process_time()
    without_secrets(part * (50_000 // len(part)))
    assert time.process_time() - start < 3
