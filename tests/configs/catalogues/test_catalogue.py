import subprocess
import sys

import pytest

from configs.catalogues import catalogue
from configs.catalogues.catalogue import BrokenEntry, Catalogue, UnknownName
from configs.documents.problems import InvalidInput
from steps.contract import Step


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def built_in() -> Catalogue:
    made = Catalogue()
    made.add(catalogue.BUILT_IN)
    return made


def test_every_built_in_step_is_a_step():
    for name in catalogue.names("steps"):
        assert issubclass(catalogue.load_step(name), Step)


def test_every_built_in_engine_can_be_called():
    for name in catalogue.names("engines"):
        assert callable(catalogue.load_engine(name))


def test_a_file_of_ones_own_adds_names(write):
    made = built_in()
    made.add(write("steps:\n  blur: collections:OrderedDict\n"))
    assert made.names("steps")[-1] == "blur"
    assert made.load("steps", "blur").__name__ == "OrderedDict"


def test_the_same_file_twice_is_once(write):
    made = built_in()
    path = write("steps:\n  blur: collections:OrderedDict\n")
    made.add(path)
    made.add(path)
    assert made.names("steps").count("blur") == 1


def test_a_taken_name_is_refused_and_changes_nothing(write):
    made = built_in()
    before = made.names("steps"), made.names("engines")
    with pytest.raises(InvalidInput) as refusal:
        made.add(write("steps:\n  blur: collections:OrderedDict\n  generate: collections:OrderedDict\n"))
    (problem,) = refusal.value.problems
    assert (problem.path, problem.line) == ("steps.generate", 3)
    assert "`generate` is taken by" in problem.message and "catalogue.yaml" in problem.message
    assert (made.names("steps"), made.names("engines")) == before


@pytest.mark.parametrize(
    ("text", "path", "line", "said"),
    [
        ("stepz: {}\n", "stepz", 1, "did you mean `steps`?"),
        ("steps: 3\n", "steps", 1, "must be names with dotted paths, not 3"),
        ("steps:\n  Blur: a:B\n", "steps.Blur", 2, "lower-case"),
        ("steps:\n  blur: a.B\n", "steps.blur", 2, "package.module:Name"),
        ("steps:\n  blur: 3\n", "steps.blur", 2, "not 3"),
        ("steps:\n  blur: a:B\n  blur: a:C\n", "steps.blur", 3, "written twice"),
    ],
)
def test_a_mistake(write, text, path, line, said):
    with pytest.raises(InvalidInput) as refusal:
        Catalogue().add(write(text))
    (problem,) = refusal.value.problems
    assert (problem.path, problem.line) == (path, line)
    assert said in problem.message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        Catalogue().add(tmp_path / "none.yaml")


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(UnknownName, match="did you mean `upscale`"):
        catalogue.load_step("upscal")
    with pytest.raises(UnknownName, match="unknown engine `difusers`; did you mean `diffusers`"):
        catalogue.load_engine("difusers")


@pytest.mark.parametrize("target", ["no_such_module:Thing", "collections:NoSuchThing"])
def test_what_cannot_be_imported_is_named(write, target):
    made = Catalogue()
    made.add(write(f"steps:\n  blur: {target}\n"))
    with pytest.raises(BrokenEntry, match=rf"step `blur` \({target} in .*mine.yaml\) cannot be imported"):
        made.load("steps", "blur")


@pytest.mark.parts
def test_a_process_reads_the_files_of_its_environment(write):
    path = write("steps:\n  blur: steps.contract:Step\n")
    code = "from configs.catalogues import catalogue; print(catalogue.load_step('blur').__name__)"
    environment = {"PIXELMILL_CATALOGUE_PATH": str(path), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "Step"
