import hashlib
import json
import os

import pytest

from configs.catalogues import models as catalogue_models
from configs.catalogues.models import BUILT_IN, DigestCache, ModelCatalogue, ModelRef, UnknownModel
from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings

FOLDER = """\
name: tiny
parts:
  diffusion: {engine: diffusers, source: weights}
  cutout: {engine: rembg, source: u2net, revision: "1"}
"""
DIFFUSION = ModelRef("tiny", "diffusion")
CUTOUT = ModelRef("tiny", "cutout")


@pytest.fixture
def models(tmp_path):
    class Models:
        folder = tmp_path / "models"

        def write(self, text: str = FOLDER, name: str = "tiny"):
            self.folder.mkdir(exist_ok=True)
            (self.folder / f"{name}.yaml").write_text(text)

        def weights(self, name: str, content: str):
            path = self.folder / "weights" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            return path

        @property
        def catalogue(self) -> ModelCatalogue:
            return ModelCatalogue(Settings(home=tmp_path / "home", models_path=(self.folder,)))

    made = Models()
    made.write()
    made.weights("b/config.json", "{}")
    made.weights("a.safetensors", "abc")
    return made


def test_every_built_in_model_is_well_formed(tmp_path):
    catalogue = ModelCatalogue(Settings(home=tmp_path))
    assert "starter" in catalogue.names()
    for name in catalogue.names():
        assert catalogue.get(name).license
    assert {path.stem for path in BUILT_IN.glob("*.yaml")} == set(catalogue.names())


def test_sources_are_relative_to_their_file(models):
    spec = models.catalogue.get("tiny")
    assert spec.parts["diffusion"].source == str(models.folder / "weights")
    assert spec.parts["cutout"].source == "u2net"


def test_a_folder_of_ones_own_comes_first(models):
    models.write(FOLDER.replace("tiny", "starter"), "starter")
    assert "u2net" in models.catalogue.get("starter").parts["cutout"].source


@pytest.mark.parametrize("name", ["tinny", "../tiny", "tiny.yaml", ""])
def test_an_unknown_model(models, name):
    with pytest.raises(UnknownModel, match="unknown model"):
        models.catalogue.get(name)


def test_an_unknown_model_names_the_nearest(models):
    with pytest.raises(UnknownModel, match="did you mean `tiny`"):
        models.catalogue.get("tinny")


def test_a_role_that_the_model_does_not_serve(models):
    with pytest.raises(UnknownModel, match=r"`tiny` has no upscaler part .it has: diffusion, cutout"):
        models.catalogue.part(ModelRef("tiny", "upscaler"))
    assert "no upscaler part" in models.catalogue.available(ModelRef("tiny", "upscaler"))


@pytest.mark.parametrize(
    ("text", "path", "line", "said"),
    [
        ("name: other\nparts: {cutout: {engine: rembg, source: x}}\n", "name", 1, "must be `tiny`, like the file"),
        ("name: tiny\nparts: {}\n", "parts", 2, "at least 1 entries"),
        ("name: tiny\nparts:\n  upscale: {engine: a, source: b}\n", "parts.upscale", 3, "must be 'diffusion'"),
        ("name: tiny\nparts:\n  cutout: {engin: a, source: b}\n", "parts.cutout.engin", 3, "did you mean `engine`?"),
        (
            "name: tiny\nparts:\n  cutout: {engine: a, source: b, memory_mb: -1}\n",
            "parts.cutout.memory_mb",
            3,
            "least 0",
        ),
    ],
)
def test_a_wrong_file(models, text, path, line, said):
    models.write(text)
    with pytest.raises(InvalidInput) as refusal:
        models.catalogue.get("tiny")
    found = {(each.path, each.line): each.message for each in refusal.value.problems}
    assert said in found[path, line]
    assert models.catalogue.available(CUTOUT)


def test_what_is_not_available(models):
    models.write(FOLDER.replace("source: weights", "source: ./none").replace("rembg", "rembgg"))
    assert models.catalogue.available(DIFFUSION) == f"its files are missing: {models.folder / 'none'}"
    assert "unknown engine `rembgg`; did you mean `rembg`?" in models.catalogue.available(CUTOUT)
    assert "unknown model" in models.catalogue.available(ModelRef("other", "cutout"))


def test_what_is_available(models):
    assert models.catalogue.available(DIFFUSION) is None
    assert models.catalogue.available(CUTOUT) is None


def test_a_digest_is_that_of_the_files_engine_and_options(models):
    def sha(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    listing = f"a.safetensors\0{sha('abc')}\nb/config.json\0{sha('{}')}\n"
    expected = sha(json.dumps([sha(listing), "diffusers", {}], separators=(",", ":")))
    assert models.catalogue.digest(DIFFUSION) == expected


def test_a_digest_changes_with_all_that_decides_an_image(models):
    seen = {models.catalogue.digest(DIFFUSION)}
    models.weights("a.safetensors", "abd")
    seen.add(models.catalogue.digest(DIFFUSION))
    models.weights("c.txt", "")
    seen.add(models.catalogue.digest(DIFFUSION))
    models.write(FOLDER.replace("source: weights", "source: weights, options: {dtype: float16}"))
    seen.add(models.catalogue.digest(DIFFUSION))
    assert len(seen) == 4
    named = models.catalogue.digest(CUTOUT)
    models.write(FOLDER.replace('"1"', '"2"'))
    assert models.catalogue.digest(CUTOUT) != named


def test_a_digest_stays_where_nothing_that_decides_an_image_changed(models, tmp_path):
    before = models.catalogue.digest(DIFFUSION)
    models.weights(".cache/x", "hidden")
    models.weights(".DS_Store", "hidden")
    models.write(FOLDER.replace("source: weights", "source: weights, memory_mb: 7"))
    models.folder.rename(tmp_path / "moved")
    moved = ModelCatalogue(Settings(home=tmp_path / "home", models_path=(tmp_path / "moved",)))
    assert moved.digest(DIFFUSION) == before


def test_a_folder_without_files_has_no_digest(models):
    models.write(FOLDER.replace("source: weights", "source: ./empty"))
    (models.folder / "empty").mkdir()
    with pytest.raises(OSError, match="holds no files"):
        models.catalogue.digest(DIFFUSION)


def test_files_are_read_once(models, tmp_path, monkeypatch):
    reads = []
    original = catalogue_models._sha256
    monkeypatch.setattr(catalogue_models, "_sha256", lambda path: reads.append(path.name) or original(path))
    first = models.catalogue.digest(DIFFUSION)
    assert sorted(reads) == ["a.safetensors", "config.json"]
    assert models.catalogue.digest(DIFFUSION) == first  # another catalogue, as in another process
    assert len(reads) == 2
    path = models.weights("a.safetensors", "xyz")
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert models.catalogue.digest(DIFFUSION) != first
    assert reads[2:] == ["a.safetensors"]


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"x": 1}'])
def test_a_broken_cache_is_only_slow(models, tmp_path, content):
    expected = models.catalogue.digest(DIFFUSION)
    (tmp_path / "home" / "digests.json").write_text(content)
    assert models.catalogue.digest(DIFFUSION) == expected


def test_a_wrong_entry_in_the_cache_is_only_slow(models, tmp_path):
    path = models.folder / "weights/a.safetensors"
    cache = tmp_path / "cache.json"
    cache.write_text(json.dumps({str(path): [path.stat().st_size, path.stat().st_mtime_ns, 7]}))
    assert DigestCache(cache).digest(path) == hashlib.sha256(b"abc").hexdigest()


def test_a_home_that_cannot_be_written_is_only_slow(models, tmp_path):
    (tmp_path / "home").write_text("a file")
    assert len(models.catalogue.digest(DIFFUSION)) == 64
