"""What every artefact store promises, on every implementation."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from configs.settings.settings import Settings
from storage.objects.artefacts import (
    ArtefactStore,
    ContentConflict,
    DamagedObject,
    MissingObject,
    StoredObject,
    StoreError,
)
from storage.objects.keys import sha256_hex
from storage.objects.open_store import open_store

KEY = "artefacts/ab/abc.png"


def put(store: ArtefactStore, key: str, data: bytes) -> StoredObject:
    return store.put(key, data, sha256=sha256_hex(data), content_type="image/png")


def test_what_was_put_comes_back(store: ArtefactStore) -> None:
    assert put(store, KEY, b"pixels") == StoredObject(KEY, 6, created=True)
    assert store.get(KEY) == b"pixels"
    assert store.get(KEY, sha256=sha256_hex(b"pixels")) == b"pixels"


def test_a_place_that_was_tried_is_as_it_was(store: ArtefactStore) -> None:
    put(store, KEY, b"pixels")
    store.check_writable()
    assert list(store.list("")) == [(KEY, 6)]


def test_an_empty_object_can_be_stored(store: ArtefactStore) -> None:
    put(store, KEY, b"")
    assert store.exists(KEY)
    assert store.get(KEY) == b""


def test_putting_the_same_again_creates_nothing(store: ArtefactStore) -> None:
    put(store, KEY, b"pixels")
    assert put(store, KEY, b"pixels") == StoredObject(KEY, 6, created=False)


def test_sync_can_be_called_at_any_time(store: ArtefactStore) -> None:
    store.sync()
    put(store, KEY, b"pixels")
    store.sync()
    assert store.get(KEY) == b"pixels"


@pytest.mark.parametrize("other", [b"others", b"longer pixels"])
def test_put_never_overwrites_other_content(store: ArtefactStore, other: bytes) -> None:
    put(store, KEY, b"pixels")
    with pytest.raises(ContentConflict):
        put(store, KEY, other)
    assert store.get(KEY) == b"pixels"


def test_put_refuses_bytes_that_do_not_match_their_digest(store: ArtefactStore) -> None:
    with pytest.raises(DamagedObject):
        store.put(KEY, b"pixels", sha256=sha256_hex(b"other"), content_type="image/png")
    assert not store.exists(KEY)


def test_replace_overwrites(store: ArtefactStore) -> None:
    store.replace("job/manifest.jsonl", b"first version", content_type="text/plain")
    store.replace("job/manifest.jsonl", b"second", content_type="text/plain")
    assert store.get("job/manifest.jsonl") == b"second"


def test_get_detects_what_is_not_what_was_stored(store: ArtefactStore) -> None:
    store.replace(KEY, b"pix", content_type="image/png")  # a truncated copy, as far as the ledger knows
    with pytest.raises(DamagedObject, match="damaged"):
        store.get(KEY, sha256=sha256_hex(b"pixels"))


def test_a_missing_object_is_named(store: ArtefactStore) -> None:
    with pytest.raises(MissingObject, match=r"no/such\.png") as caught:
        store.get("no/such.png")
    assert not caught.value.retryable
    assert not store.exists("no/such.png")


def test_publish_copies_and_replaces(store: ArtefactStore) -> None:
    put(store, KEY, b"pixels")
    put(store, "artefacts/cd/cde.png", b"newer pixels")
    store.publish(KEY, "job/final/fox.png", content_type="image/png")
    store.publish("artefacts/cd/cde.png", "job/final/fox.png", content_type="image/png")
    store.publish("artefacts/cd/cde.png", "job/final/fox.png", content_type="image/png")  # again: a resumed job
    assert store.get("job/final/fox.png") == b"newer pixels"
    assert store.get(KEY) == b"pixels"


def test_replacing_a_published_name_leaves_the_artefact(store: ArtefactStore) -> None:
    put(store, KEY, b"pixels")
    store.publish(KEY, "job/final/fox.png", content_type="image/png")
    store.replace("job/final/fox.png", b"hand-painted", content_type="image/png")
    store.delete("job/final/fox.png")
    assert store.get(KEY) == b"pixels"


def test_publishing_what_is_not_there_fails(store: ArtefactStore) -> None:
    with pytest.raises(MissingObject):
        store.publish("no/such.png", "job/final/fox.png", content_type="image/png")
    assert not store.exists("job/final/fox.png")


def test_list_gives_keys_and_sizes_by_prefix(store: ArtefactStore) -> None:
    for key, data in {"a/b/one.png": b"1", "a/b/two words é+%.png": b"22", "a/bc.png": b"333", "d.png": b"4"}.items():
        put(store, key, data)
    assert sorted(store.list("a/b")) == [("a/b/one.png", 1), ("a/b/two words é+%.png", 2), ("a/bc.png", 3)]
    assert sorted(store.list("a/b/")) == [("a/b/one.png", 1), ("a/b/two words é+%.png", 2)]
    assert len(list(store.list(""))) == 4
    assert list(store.list("nothing/")) == []


def test_delete_twice(store: ArtefactStore) -> None:
    put(store, KEY, b"pixels")
    store.delete(KEY)
    store.delete(KEY)
    assert not store.exists(KEY)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up.png", "a/../../up.png", "a//b", "a/", ".", "a\\b", "a\x00b"])
def test_keys_that_leave_the_root_are_refused(store: ArtefactStore, key: str) -> None:
    for use in (store.get, store.exists, store.delete):
        with pytest.raises(StoreError, match="cannot be the key"):
            use(key)
    with pytest.raises(StoreError, match="cannot be the key"):
        put(store, key, b"pixels")
    assert list(store.list("")) == []


def test_many_threads_share_a_store(store: ArtefactStore) -> None:
    keys = [f"artefacts/{number}.png" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda key: put(store, key, key.encode()).created, keys))
        found = list(pool.map(store.get, keys))
    assert all(created)
    assert found == [key.encode() for key in keys]


def test_the_root_opens_the_same_store(store: ArtefactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, KEY, b"pixels")
    assert not store.root.endswith("/")
    again = open_store(store.root, Settings())  # S3: the endpoint comes from the environment
    assert again.root == store.root
    assert again.get(KEY) == b"pixels"
    assert again.uri(KEY).endswith(KEY)


def test_entries_tell_when_objects_were_written(store: ArtefactStore) -> None:
    put(store, KEY, b"pixels")
    (entry,) = store.entries("")
    assert (entry.key, entry.size) == (KEY, 6)
    assert abs(datetime.now(UTC) - entry.modified) < timedelta(minutes=5)
