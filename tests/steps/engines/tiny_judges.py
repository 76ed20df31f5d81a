"""Tiny judges with random weights in the layouts that their engines read."""

from pathlib import Path

from tests.support.tiny_models import PROMPT_TOKENS, new_tokenizer

CLIP_WIDTH = 8
SIDE = 32  # pixels


def write_clip(folder: Path) -> None:
    """A CLIP model, its tokenizer and its image settings; vectors of CLIP_WIDTH numbers."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    tokenizer = new_tokenizer()
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": PROMPT_TOKENS, **ends}
    vision = {"image_size": SIDE, "patch_size": 8}
    config = CLIPConfig(text_config=layers | text, vision_config=layers | vision, projection_dim=CLIP_WIDTH)
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIDE).save_pretrained(folder)


def aesthetic_layers() -> dict:
    """Three layers, numbered as in LAION's predictors, where dropout stands between them."""
    import torch

    torch.manual_seed(0)
    widths = {0: (CLIP_WIDTH, 6), 2: (6, 4), 10: (4, 1)}
    layers = {number: torch.nn.Linear(*ends).requires_grad_(False) for number, ends in widths.items()}
    return {
        f"layers.{number}.{name}": getattr(layers[number], name) for number in layers for name in ("weight", "bias")
    }


def write_aesthetic_head(file: Path) -> None:
    from safetensors.torch import save_file

    save_file(aesthetic_layers(), file)


def write_image_classifier(folder: Path) -> None:
    """A vision transformer with the labels normal, suggestive and NSFW."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    labels = dict(enumerate(("normal", "suggestive", "NSFW")))
    config = ViTConfig(
        image_size=SIDE,
        patch_size=8,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        id2label=labels,
        label2id={label: place for place, label in labels.items()},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)


def write_text_reader(folder: Path, characters: str | None = "X") -> None:
    """Networks in the layout of RapidOCR: text is what is dark, and reads as one X for each part of a line that is."""
    import onnx
    from onnx import TensorProto, helper

    def save(name: str, nodes: list, shapes: tuple[list, list], constants: list, metadata: dict[str, str]) -> None:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shapes[0])
        result = helper.make_tensor_value_info("result", TensorProto.FLOAT, shapes[1])
        graph = helper.make_graph(nodes, "text", [image], [result], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        onnx.save(model, folder / name)

    def constant(name: str, value: float) -> onnx.TensorProto:
        return helper.make_tensor(name, TensorProto.FLOAT, [], [value])

    node = helper.make_node
    dark = [  # from -1 … 1 to 1 … 0
        node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
        node("Mul", ["mean", "minus_half"], ["half"]),
        node("Add", ["half", "plus_half"], ["dark"]),
    ]
    halves = [constant("minus_half", -0.5), constant("plus_half", 0.5)]
    folder.mkdir(parents=True, exist_ok=True)
    save(
        "find.onnx",
        [*dark, node("Identity", ["dark"], ["result"])],
        (["n", 3, "h", "w"], ["n", 1, "h", "w"]),
        halves,
        {},
    )
    reading = [
        *dark,
        node("ReduceMax", ["dark"], ["line"], axes=[2], keepdims=1),  # (n, 1, 1, w)
        node("AveragePool", ["line"], ["parts"], kernel_shape=[1, 8], strides=[1, 8]),
        node("Squeeze", ["parts", "first_axis"], ["flat"]),  # (n, 1, w / 8)
        node("Transpose", ["flat"], ["ink"], perm=[0, 2, 1]),
        node("Sub", ["one", "ink"], ["blank"]),
        node("Mul", ["ink", "zero"], ["space"]),
        node("Concat", ["blank", "ink", "space"], ["result"], axis=2),
    ]
    constants = [
        constant("one", 1.0),
        constant("zero", 0.0),
        helper.make_tensor("first_axis", TensorProto.INT64, [1], [1]),
    ]
    metadata = {} if characters is None else {"character": characters}
    save("read.onnx", reading, (["n", 3, 48, "w"], ["n", "t", 3]), halves + constants, metadata)
