"""A store keeps bytes by key, in a folder or a bucket, whole or not at all, and never overwrites an artefact."""

import pytest

from configs.settings.settings import Settings
from storage import open_store
from storage.objects.artefacts import ContentConflict, MissingObject
from storage.objects.keys import sha256_hex


def test_a_store_takes_the_same_content_twice_and_other_content_never(tmp_path):
    store = open_store(tmp_path / "out", Settings())
    first = store.put("artefacts/a.png", b"red", sha256=sha256_hex(b"red"), content_type="image/png")
    again = store.put("artefacts/a.png", b"red", sha256=sha256_hex(b"red"), content_type="image/png")
    assert (first.created, again.created) == (True, False)
    with pytest.raises(ContentConflict):
        store.put("artefacts/a.png", b"blue", sha256=sha256_hex(b"blue"), content_type="image/png")
    assert store.get("artefacts/a.png") == b"red"
    with pytest.raises(MissingObject):
        store.get("artefacts/b.png")
