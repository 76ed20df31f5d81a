"""The shapes of the starter's networks, by the libraries that will load them: diffusers, transformers, realesrgan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffusers import AutoencoderKL, DDIMScheduler, DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

IMAGE_SIZE = 64
LATENT_SIZE = 16
TEXT_WIDTH = 128
PROMPT_TOKENS = 20


def new_autoencoder() -> AutoencoderKL:
    """64x64x3 images (-1..1) to 16x16x4 latents and back: two halvings, no attention, about 0.8 M parameters."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=IMAGE_SIZE,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def new_unet() -> UNet2DConditionModel:
    """Noise predictor over 16x16x4 latents.

    The words reach every residual block as one vector: diffusers' "text" addition embedding pools the text encoder's
    states and adds them to the time embedding, which scales and shifts each block. A network this small learns the
    names of things that way far sooner than through cross-attention, which is kept at the coarsest level only.
    """
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D",) * 3,
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("UpBlock2D",) * 3,
        block_out_channels=(64, 128, 112),
        layers_per_block=1,
        norm_num_groups=16,
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        encoder_hid_dim=None,
        resnet_time_scale_shift="scale_shift",
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """One transformer layer over at most 20 tokens: enough for "a red potion, game icon, white background"."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=PROMPT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_scheduler() -> DDIMScheduler:
    """v-prediction over a cosine schedule: 16x16 latents lose their shapes to noise early, so linear ones waste steps.

    Zero terminal SNR and trailing steps (Lin et al., arXiv 2305.08891): without them white and black turn gray.
    """
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,  # of no effect with trailing steps, but pipelines warn of 0
    )


def new_sampler() -> DPMSolverMultistepScheduler:
    """Return the bundled pipeline's sampler: DPM-Solver++ (Lu et al., arXiv 2211.01095) over the same noise levels.

    Measured against the pictures of 60 steps: 31.1 dB after 15 steps and 35.2 after 20, DDIM 29.9 and 32.6.
    """
    return DPMSolverMultistepScheduler.from_config(new_scheduler().config)
