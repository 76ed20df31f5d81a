"""A folder with models, recipes and jobs, as a user would have it; nothing in it loads a model."""

from pathlib import Path

from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings
from flows.job.request import JobRequest, read_request

MODEL = """\
name: tiny
parts:
  diffusion: {engine: diffusers, source: ./weights.bin}
  cutout: {engine: rembg, source: ./weights.bin}
  upscaler: {engine: realesrgan, source: ./weights.bin}
"""
RECIPE = """\
name: icon
steps:
  - {id: base, step: generate, model: tiny, width: 64, height: 64}
  - {id: cutout, step: remove_background, model: tiny, when: "vars.transparent"}
  - {id: repair, step: inpaint, model: tiny, mask: holes, when: "facts.cutout.hole_ratio > 0.02"}
  - {id: large, step: upscale, model: tiny, scale: 4}
keep: [large]
"""
JOB = """\
name: icons
recipe: icon
output: ./out
items:
  - {name: potion, prompt: "a red potion", vars: {transparent: true}}
"""


def job(*lines: str, without: str = "") -> str:
    """JOB with top-level lines replaced or added, and one field left out."""
    fields = {line.split(":")[0] for line in lines} | {without}
    kept, keeping = [], True
    for line in JOB.splitlines():
        if not line.startswith(" "):
            keeping = line.split(":")[0] not in fields
        if keeping:
            kept.append(line)
    return "\n".join([*kept, *lines]) + "\n"


class Workspace:
    """`read` answers what a store would: the bytes at a path, or an object put with `put`."""

    def __init__(self, folder: Path, **settings) -> None:
        self.folder = folder
        self.objects: dict[str, bytes] = {}
        self.settings = Settings(
            home=folder / "home", models_path=(folder / "models",), recipes_path=(folder / "recipes",), **settings
        )
        self.write("models/tiny.yaml", MODEL)
        self.write("models/weights.bin", "weights")
        self.write("recipes/icon.yaml", RECIPE)

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def read(self, uri: str) -> bytes:
        return self.objects[uri] if uri.startswith("s3://") else Path(uri).read_bytes()

    def request(self, job: str | bytes = JOB) -> JobRequest:
        return read_request(self.write("job.yaml", job), self.settings, read_bytes=self.read)

    def problems(self, job: str | bytes = JOB) -> list[Problem]:
        try:
            self.request(job)
        except InvalidInput as refusal:
            return list(refusal.problems)
        return []

    def seen(self, job: str | bytes = JOB) -> list[str]:
        """The problems as text, the folder left out."""
        return [str(problem).replace(f"{self.folder}/", "") for problem in self.problems(job)]
