"""Networks of SDXL's architecture with random weights, in the folder layout that diffusers reads.

The images are noise; what a GPU has to compute for them is what it would be for the real weights, which are 7 GB and
not needed here. The tokenizer is the starter's: its words are few, its output as long.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTER = Path(__file__).parents[1] / "starter" / "models" / "text-to-image"
PROMPT_TOKENS = 77


@dataclass(frozen=True)
class Sizes:
    """Differences between the real architecture and one for tests. Pixels of an image: `latents` times a block's."""

    latents: int
    unet: tuple[int, ...]
    transformers: tuple[int, ...]  # layers in each block; the first block has no attention
    heads: tuple[int, ...]
    time_embedding: int
    vae: tuple[int, ...]
    groups: int  # of the normalizations
    text: tuple[dict[str, int], dict[str, int]]


def _text(hidden: int, layers: int, heads: int) -> dict[str, int]:
    return {
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "projection_dim": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


SDXL = Sizes(
    latents=128,
    unet=(320, 640, 1280),
    transformers=(1, 2, 10),
    heads=(5, 10, 20),
    time_embedding=256,
    vae=(128, 256, 512, 512),
    groups=32,
    text=(_text(768, 12, 12), _text(1280, 32, 20)),
)
TINY = Sizes(
    latents=16,
    unet=(8, 16),
    transformers=(1, 1),
    heads=(2, 2),
    time_embedding=8,
    vae=(8, 8),
    groups=4,
    text=(_text(16, 1, 2), _text(16, 1, 2)),
)


def write_networks(folder: Path, sizes: Sizes, *, device: str, dtype: str) -> None:
    """Draws the weights on `device` and writes the folder; `dtype` is torch's name of a number type."""
    import torch
    from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(STARTER / "tokenizer", model_max_length=PROMPT_TOKENS)
    texts = [
        CLIPTextConfig(
            vocab_size=max(49_408 if sizes is SDXL else 0, len(tokenizer)),
            max_position_embeddings=PROMPT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **text,
        )
        for text in sizes.text
    ]
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            parts: dict[str, Any] = {
                "vae": AutoencoderKL(**_vae(sizes)),
                "unet": UNet2DConditionModel(**_unet(sizes)),
                "text_encoder": CLIPTextModel(texts[0]),
                "text_encoder_2": CLIPTextModelWithProjection(texts[1]),
            }
    finally:
        torch.set_default_dtype(before)
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1
    )
    pipeline = StableDiffusionXLPipeline(
        **parts, tokenizer=tokenizer, tokenizer_2=tokenizer, scheduler=scheduler, add_watermarker=False
    )
    pipeline.save_pretrained(folder)


def _unet(sizes: Sizes) -> dict[str, Any]:
    attended = len(sizes.unet) - 1
    width = sizes.text[1]["hidden_size"]
    return {
        "sample_size": sizes.latents,
        "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * attended,
        "up_block_types": ("CrossAttnUpBlock2D",) * attended + ("UpBlock2D",),
        "block_out_channels": sizes.unet,
        "layers_per_block": 2,
        "transformer_layers_per_block": sizes.transformers,
        "attention_head_dim": sizes.heads,
        "norm_num_groups": sizes.groups,
        "cross_attention_dim": sizes.text[0]["hidden_size"] + width,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": sizes.time_embedding,
        "projection_class_embeddings_input_dim": width + 6 * sizes.time_embedding,
    }


def _vae(sizes: Sizes) -> dict[str, Any]:
    blocks = len(sizes.vae)
    return {
        "down_block_types": ("DownEncoderBlock2D",) * blocks,
        "up_block_types": ("UpDecoderBlock2D",) * blocks,
        "block_out_channels": sizes.vae,
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": sizes.groups,
        "sample_size": sizes.latents * 2 ** (blocks - 1),
        "scaling_factor": 0.13025,
        "force_upcast": False,
    }
