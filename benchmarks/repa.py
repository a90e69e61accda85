"""CKNNA of diffusion features and DINOv2 patches, as REPA measures it, and what each choice changes.

    python -m benchmarks.repa

Both networks are tiny and have random weights: the scores show what a choice does to one score, not how alike trained
networks are.
"""

import statistics
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import prh_jax

PICTURES, SIDE = 64, 32
NULL_LABEL, CLASSES, STEPS = 1000, 1000, 1000
LAYER = 2
"""The block of the DiT whose output is compared."""


def pictures(count: int = PICTURES) -> list[Any]:
    """The first emoji as PIL images."""
    from extractors.datasets.loading import load

    data = load("emoji_1024", num_samples=count)
    return [data.image(row).resize((56, 56)) for row in range(count)]


def tiny_dit() -> Any:
    """A DiT of 4 blocks on pictures of 32 x 32 in patches of 4: 8 x 8 tokens of width 64."""
    import torch
    from diffusers import DiTTransformer2DModel

    torch.manual_seed(0)
    size = {"num_attention_heads": 4, "attention_head_dim": 16, "num_layers": 4}
    image = {"in_channels": 3, "out_channels": 3, "sample_size": SIDE, "patch_size": 4, "norm_num_groups": 1}
    return DiTTransformer2DModel(**size, **image, num_embeds_ada_norm=CLASSES).eval()


def tiny_dinov2() -> Any:
    """A DINOv2 of 3 layers on pictures of 56 x 56 in patches of 8: 7 x 7 patches of width 48 behind a class token."""
    import torch
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(1)
    size = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    return Dinov2Model(Dinov2Config(**size, image_size=56, patch_size=8)).eval()


def diffusion_patches(
    model: Any, images: Sequence[Any], *, timestep: int = 500, label: int = NULL_LABEL, seed: int = 0
) -> np.ndarray:
    """Output (n, 64, 64) of a block of the DiT for noisy pictures `sqrt(a) x + sqrt(1 - a) noise`."""
    import torch

    clean = np.stack([np.asarray(image.resize((SIDE, SIDE)), np.float32) for image in images]) / 127.5 - 1
    x = torch.tensor(clean).permute(0, 3, 1, 2)
    betas = torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64)  # DDPM's, with which DiT is trained
    kept = float(torch.cumprod(1 - betas, 0)[timestep])
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    found: list[Any] = []
    handle = model.transformer_blocks[LAYER].register_forward_hook(lambda module, args, output: found.append(output))
    try:
        with torch.inference_mode():
            n = len(x)
            model(
                kept**0.5 * x + (1 - kept) ** 0.5 * noise,
                timestep=torch.full((n,), timestep),
                class_labels=torch.full((n,), label),
            )
    finally:
        handle.remove()
    return found[0].numpy()


def dinov2_patches(model: Any, images: Sequence[Any]) -> np.ndarray:
    """Last hidden state (n, 49, 48) of clean pictures after the norm, without the class token."""
    import torch

    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = np.stack([(np.asarray(image, np.float64) / 255 - mean) / std for image in images]).astype(np.float32)
    with torch.inference_mode():
        return model(torch.tensor(x).permute(0, 3, 1, 2)).last_hidden_state[:, 1:].numpy()


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def recipe(diffusion: np.ndarray, dinov2: np.ndarray, *, k: int = 10, normalize: bool = True, **settings: Any) -> float:
    """CKNNA of patches (n, patches, d): the mean over patches, rows of unit length, k neighbours."""
    x, y = diffusion.mean(axis=1), dinov2.mean(axis=1)
    if normalize:
        x, y = unit_rows(x), unit_rows(y)
    return float(prh_jax.cknna(x, y, k=k, **settings))


def patchwise(diffusion: np.ndarray, dinov2: np.ndarray, k: int = 10) -> dict[str, float]:
    """CKNNA of single patches: all of them together, and within one picture; DINOv2's are brought to the DiT's grid."""
    n = len(diffusion)
    y = np.asarray(prh_jax.resample_grid(dinov2, (7, 7), (8, 8)))
    x, y = (unit_rows(z.reshape(-1, z.shape[-1])) for z in (diffusion, y))
    samples = np.repeat(np.arange(n), len(x) // n)
    inside = prh_jax.within_samples(x, y, f"cknna:k={k}", groups=samples)
    return {"all": float(prh_jax.cknna(x, y, k=k)), "within": inside["score"].item()}


def measure() -> dict[str, float]:
    """The score of the recipe, and with one choice changed at a time."""
    images, dit = pictures(), tiny_dit()
    y = dinov2_patches(tiny_dinov2(), images)
    x = diffusion_patches(dit, images)
    rows = {"recipe": recipe(x, y), "not normalised": recipe(x, y, normalize=False)}
    rows |= {f"patches, {where}": score for where, score in patchwise(x, y).items()}
    rows |= {f"k = {k}": recipe(x, y, k=k) for k in (5, 50)}
    rows["unbiased=False"] = recipe(x, y, unbiased=False)
    for timestep in (0, 100, 250, 750, 999):
        rows[f"timestep {timestep}"] = recipe(diffusion_patches(dit, images, timestep=timestep), y)
    rows["one class for all"] = recipe(diffusion_patches(dit, images, label=1), y)
    scores = [recipe(diffusion_patches(dit, images, seed=seed), y) for seed in range(10)]
    rows |= {"10 seeds, mean": statistics.mean(scores), "10 seeds, sd": statistics.stdev(scores)}
    means = np.mean([diffusion_patches(dit, images, seed=seed) for seed in range(10)], axis=0)
    rows["mean of 10 seeds' features"] = recipe(means, y)
    rows["other pictures' DINOv2"] = recipe(x, y[np.random.default_rng(0).permutation(len(y))])
    rows["32 pictures"] = recipe(x[:32], y[:32])
    return rows


def main() -> int:
    """Print the table."""
    for name, score in measure().items():
        print(f"| {name} | {score:.4f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
