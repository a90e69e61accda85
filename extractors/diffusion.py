"""Noisy inputs of diffusion models: the noise of a sample is its own, whatever batch it is in."""

from collections.abc import Mapping
from typing import Any


class Noised:
    """Make the inputs of a diffusion model at a timestep, for `extract_module(inputs=, timesteps=)`.

    Parameters
    ----------
    scheduler
        A scheduler of diffusers, or any object with `add_noise(samples, noise, timesteps)`.
    seed
        The noise of sample i is drawn from (seed, i). It is the same at every timestep, in every batch, and in a run
        that was resumed.
    condition
        Further arguments of the model for one sample, such as `{"class_labels": 1000}`: a number becomes a tensor of
        one for each sample, a tensor is repeated for each sample. DiT reads the number of its classes as "no class".
    """

    def __init__(self, scheduler: Any, *, seed: int = 0, condition: Mapping[str, Any] | None = None):
        self.scheduler, self.seed, self.condition = scheduler, seed, dict(condition or {})

    def __call__(self, batch: Any, rows: range, timestep: int) -> dict[str, Any]:
        """Return the arguments of the model: the noisy batch, the timestep of each sample, and the condition."""
        import torch

        clean = batch[0] if isinstance(batch, tuple | list) else batch
        noise = torch.stack([self.noise(row, clean[0].shape) for row in rows]).to(clean.device, clean.dtype)
        times = torch.full((len(rows),), timestep, dtype=torch.long, device=clean.device)
        noisy = self.scheduler.add_noise(clean, noise, times)
        given = {name: _repeated(value, len(rows), clean.device) for name, value in self.condition.items()}
        return _Positional((noisy, times), given)  # the first argument has another name in each family

    def noise(self, row: int, shape: Any) -> Any:
        """Return the noise of one sample, in float32."""
        import numpy as np
        import torch

        return torch.from_numpy(np.random.default_rng([self.seed, row]).standard_normal(tuple(shape), np.float32))

    def spec(self) -> dict[str, Any]:
        """Return the record of the scheduler, the seed and the condition, for a store."""
        config = getattr(self.scheduler, "config", None)
        plain = {k: v for k, v in dict(config or {}).items() if isinstance(v, int | float | str | bool) or v is None}
        named = {k: v if isinstance(v, int | float | str) else type(v).__name__ for k, v in self.condition.items()}
        return {"scheduler": type(self.scheduler).__name__, **plain, "noise_seed": self.seed, "condition": named}


class _Positional(dict):
    """Arguments by name, behind some by place."""

    def __init__(self, places: tuple[Any, ...], names: Mapping[str, Any]):
        super().__init__(names)
        self.places = places


def _repeated(value: Any, count: int, device: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(device)[None].expand(count, *value.shape)
    return torch.full((count,), value, device=device)
