"""Model files that mean harm: none runs code, reads files elsewhere, or is fetched from anywhere."""

import json
import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from starter.engine import load as load_sprite_classifier
from steps.engines import (
    diffusers_engine,
    realesrgan_engine,
    rembg_engine,
)
from steps.engines.judge_engines import load_aesthetic, load_clip, load_image_classifier
from tests.support import tiny_models


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """The file that exists once code of a model has run."""
    return tmp_path / "owned"


class Attack:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


def test_the_attack_would_work(marker: Path) -> None:
    pickle.loads(pickle.dumps(Attack(marker)))
    assert marker.exists()


def torch_file(path: Path, marker: Path, *, zipped: bool = True) -> None:
    import torch

    content = {"params": {"weight": torch.zeros(1)}, "more": Attack(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


# -- realesrgan ------------------------------------------------------------------------------------------------------


@pytest.mark.parts
@pytest.mark.parametrize("zipped", [True, False])
def test_an_upscaler_is_read_as_tensors_only(tmp_path: Path, marker: Path, zipped: bool) -> None:
    torch_file(tmp_path / "bad.pth", marker, zipped=zipped)
    with pytest.raises(pickle.UnpicklingError):
        realesrgan_engine.load(str(tmp_path / "bad.pth"), tiny_models.UPSCALER_OPTIONS, "cpu")
    assert not marker.exists()


@pytest.mark.parts
def test_a_bare_pickle_is_no_upscaler(tmp_path: Path, marker: Path) -> None:
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Attack(marker)))
    with pytest.raises(pickle.UnpicklingError):
        realesrgan_engine.load(str(tmp_path / "bad.pth"), tiny_models.UPSCALER_OPTIONS, "cpu")
    assert not marker.exists()


# -- diffusers -------------------------------------------------------------------------------------------------------


def edit(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


CODE = """
from pathlib import Path
Path(MARKER).touch()
from diffusers import StableDiffusionPipeline as Pipeline, UNet2DConditionModel as Net
from transformers import CLIPTextModel as Text, CLIPTokenizer as Tokenizer
"""


def write_code(file: Path, marker: Path) -> None:
    file.write_text(CODE.replace("MARKER", repr(str(marker))))


def pickled_unet(folder: Path, marker: Path) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.unlink()
    torch_file(weights.with_suffix(".bin"), marker)


def pickled_vae(folder: Path, marker: Path) -> None:
    weights = folder / "vae/diffusion_pytorch_model.safetensors"
    weights.unlink()
    torch_file(weights.with_suffix(".bin"), marker)


def pickled_text_encoder(folder: Path, marker: Path) -> None:
    (folder / "text_encoder/model.safetensors").unlink()
    torch_file(folder / "text_encoder/pytorch_model.bin", marker)


def misnamed_unet(folder: Path, marker: Path) -> None:
    torch_file(folder / "unet/diffusion_pytorch_model.safetensors", marker)


def misnamed_text_encoder(folder: Path, marker: Path) -> None:
    (folder / "text_encoder/model.safetensors").write_bytes(pickle.dumps(Attack(marker)))


def own_pipeline(folder: Path, marker: Path) -> None:
    write_code(folder / "evil.py", marker)
    edit(folder / "model_index.json", _class_name=["evil", "Pipeline"])


def community_pipeline(folder: Path, marker: Path) -> None:
    write_code(folder / "pipeline.py", marker)
    edit(folder / "model_index.json", _class_name="Pipeline")


def own_component(folder: Path, marker: Path) -> None:
    write_code(folder / "unet/evil.py", marker)
    edit(folder / "model_index.json", unet=["evil", "Net"])


def program_as_component(folder: Path, marker: Path) -> None:
    edit(folder / "model_index.json", unet=["subprocess", "Popen"])


def module_as_component(folder: Path, marker: Path) -> None:
    edit(folder / "model_index.json", unet=["antigravity", "fly"])


def automatic_tokenizer(folder: Path, marker: Path) -> None:
    write_code(folder / "tokenizer/evil.py", marker)
    edit(folder / "tokenizer/tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", None]})
    edit(folder / "model_index.json", tokenizer=["transformers", "AutoTokenizer"])


def automatic_text_encoder(folder: Path, marker: Path) -> None:
    write_code(folder / "text_encoder/evil.py", marker)
    edit(folder / "text_encoder/config.json", auto_map={"AutoModel": "evil.Text", "AutoConfig": "evil.Text"})
    edit(folder / "model_index.json", text_encoder=["transformers", "AutoModel"])


def weights_elsewhere(folder: Path, marker: Path) -> None:
    weights = folder / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(folder.parent / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": {"conv_in.weight": "../../elsewhere.safetensors"}}
    (folder / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))


REFUSED = [
    pickled_unet,
    pickled_vae,
    pickled_text_encoder,
    misnamed_unet,
    misnamed_text_encoder,
    own_pipeline,
    community_pipeline,
    own_component,
    program_as_component,
    module_as_component,
    automatic_tokenizer,
    automatic_text_encoder,
    weights_elsewhere,
]


@pytest.mark.parts
@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_a_model_folder_is_tensors_and_settings_only(
    change: Callable[[Path, Path], None], diffusion_folder: Path, tmp_path: Path, marker: Path
) -> None:
    folder = shutil.copytree(diffusion_folder, tmp_path / "model")
    change(folder, marker)
    with pytest.raises(Exception) as refusal:
        diffusers_engine.load(str(folder), {}, "cpu")
    assert not isinstance(refusal.value, AssertionError)
    assert not marker.exists()


@pytest.mark.parts
def test_code_and_pickles_beside_the_weights_are_left_alone(
    diffusion_folder: Path, tmp_path: Path, marker: Path
) -> None:
    folder = shutil.copytree(diffusion_folder, tmp_path / "model")
    torch_file(folder / "unet/diffusion_pytorch_model.bin", marker)
    torch_file(folder / "text_encoder/pytorch_model.bin", marker)
    for place in ("", "unet/", "text_encoder/", "tokenizer/"):
        write_code(folder / f"{place}__init__.py", marker)
        write_code(folder / f"{place}pipeline.py", marker)
    edit(folder / "text_encoder/config.json", auto_map={"AutoModel": "pipeline.Text"})
    edit(folder / "tokenizer/tokenizer_config.json", auto_map={"AutoTokenizer": ["pipeline.Tokenizer", None]})
    assert diffusers_engine.load(str(folder), {}, "cpu").default_size == (32, 32)
    assert not marker.exists()


@pytest.mark.parts
@pytest.mark.parametrize("option", ["trust_remote_code", "custom_pipeline", "use_safetensors", "local_files_only"])
def test_no_option_of_a_model_file_opens_a_door(option: str, diffusion_folder: Path) -> None:
    with pytest.raises(ValueError, match=option):
        diffusers_engine.load(str(diffusion_folder), {option: True}, "cpu")


# -- rembg -----------------------------------------------------------------------------------------------------------


def write_onnx(file: Path, weights: str) -> None:
    """A network whose weights lie in another file."""
    import onnx
    from onnx import TensorProto, helper

    tensor = TensorProto(name="gain", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", weights), ("offset", "0"), ("length", "12")):
        tensor.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("ReduceMean", ["gain"], ["factor"], axes=[0], keepdims=0),
        helper.make_node("Mul", ["mean", "factor"], ["mask"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 320, 320])
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 320, 320])
    graph = helper.make_graph(nodes, "cutout", [image], [mask], [tensor])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)


@pytest.fixture
def cutout_folder(tmp_path: Path) -> Path:
    """`model/`, and outside of it `secret.bin`, to which links in it lead."""
    (tmp_path / "model").mkdir()
    (tmp_path / "other").mkdir()
    for file in ("model/own.bin", "secret.bin", "other/secret.bin"):
        (tmp_path / file).write_bytes(b"\0" * 12)
    (tmp_path / "model/link.bin").symlink_to(tmp_path / "secret.bin")
    (tmp_path / "model/folder").symlink_to(tmp_path / "other")
    return tmp_path / "model"


@pytest.mark.parts
def test_weights_beside_the_network_are_read(cutout_folder: Path) -> None:
    write_onnx(cutout_folder / "cutout.onnx", "own.bin")
    assert rembg_engine.load(str(cutout_folder / "cutout.onnx"), {}, "cpu")


@pytest.mark.parts
@pytest.mark.parametrize(
    "weights",
    ["../secret.bin", "./../secret.bin", "ABSOLUTE/secret.bin", "link.bin", "folder/secret.bin", "/etc/hosts"],
)
def test_weights_elsewhere_are_not_read(weights: str, cutout_folder: Path) -> None:
    path = weights.replace("ABSOLUTE", str(cutout_folder.parent))
    write_onnx(cutout_folder / "cutout.onnx", path)
    with pytest.raises(Exception, match=r"External data path|Absolute path"):
        rembg_engine.load(str(cutout_folder / "cutout.onnx"), {}, "cpu")


@pytest.mark.parts
def test_a_pickle_is_no_network(tmp_path: Path, marker: Path) -> None:
    for name in ("cutout.onnx", "cutout.pth"):
        (tmp_path / name).write_bytes(pickle.dumps(Attack(marker)))
        with pytest.raises(Exception, match=r"(?i)protobuf|no network named"):
            rembg_engine.load(str(tmp_path / name), {}, "cpu")
    assert not marker.exists()


# -- the starter's own classifier ------------------------------------------------------------------------------------


@pytest.mark.parts
def test_a_pickle_is_no_classifier(tmp_path: Path, marker: Path) -> None:
    from starter.classifier import load_classifier

    torch_file(tmp_path / "classifier.safetensors", marker)
    with pytest.raises(Exception, match="header"):
        load_classifier(tmp_path / "classifier.safetensors")
    assert not marker.exists()


# -- judges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parts
@pytest.mark.parametrize("name", ["head.pth", "head.safetensors"])
def test_an_aesthetic_head_is_read_as_tensors_only(tmp_path: Path, marker: Path, name: str) -> None:
    torch_file(tmp_path / name, marker)
    with pytest.raises(Exception, match=r"(?i)weights.only|header"):
        load_aesthetic(str(tmp_path / name), {}, "cpu")
    assert not marker.exists()


@pytest.mark.parts
@pytest.mark.parametrize("role", ["clip", "nsfw"])
def test_a_judge_is_never_unpickled(role: str, request: pytest.FixtureRequest, tmp_path: Path, marker: Path) -> None:
    folder = shutil.copytree(request.getfixturevalue(f"{role}_folder"), tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch_file(folder / "pytorch_model.bin", marker)
    load = {"clip": load_clip, "nsfw": load_image_classifier}[role]
    with pytest.raises(FileNotFoundError, match="safetensors"):
        load(str(folder), {}, "cpu")
    assert not marker.exists()


@pytest.mark.parts
def test_code_beside_a_classifier_is_not_run(nsfw_folder: Path, tmp_path: Path, marker: Path) -> None:
    folder = shutil.copytree(nsfw_folder, tmp_path / "model")
    write_code(folder / "evil.py", marker)
    edit(folder / "config.json", auto_map={"AutoModelForImageClassification": "evil.Net", "AutoConfig": "evil.Net"})
    edit(folder / "preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.Net"})
    assert load_image_classifier(str(folder), {}, "cpu")
    assert not marker.exists()


# -- nothing is fetched ----------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """Whom this process asks by network; nobody answers."""
    asked: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: refuse(address))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "u2net"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return asked


@pytest.mark.parts
@pytest.mark.parametrize(
    ("load", "source"),
    [
        (diffusers_engine.load, "nobody/no-such-model"),
        (diffusers_engine.load, "https://evil.example/model"),
        (rembg_engine.load, "u2net"),
        (rembg_engine.load, "https://evil.example/cutout.onnx"),
        (realesrgan_engine.load, "https://evil.example/upscaler.pth"),
        (load_clip, "nobody/no-such-model"),
        (load_clip, "https://evil.example/clip"),
        (load_image_classifier, "nobody/no-such-model"),
        (load_aesthetic, "https://evil.example/head.pth"),
        (load_sprite_classifier, "https://evil.example/classifier.safetensors"),
    ],
)
def test_missing_weights_are_not_fetched(load: Any, source: str, asked: list[object], tmp_path: Path) -> None:
    options = tiny_models.UPSCALER_OPTIONS if load is realesrgan_engine.load else {}
    with pytest.raises(FileNotFoundError):
        load(source, options, "cpu")
    assert asked == []


@pytest.mark.parts
def test_loading_a_folder_asks_nobody(diffusion_folder: Path, tmp_path: Path, asked: list[object]) -> None:
    """Not even for what the folder lacks."""
    diffusers_engine.load(str(diffusion_folder), {}, "cpu")
    folder = shutil.copytree(diffusion_folder, tmp_path / "model")
    shutil.rmtree(folder / "vae")
    with pytest.raises(OSError, match="no file named"):
        diffusers_engine.load(str(folder), {}, "cpu")
    assert asked == []
