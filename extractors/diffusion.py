"""Noisy inputs of diffusion models: the noise of a sample is its own, whatever batch it is in."""

import copy
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import ExtractionError, first_line


class Noised:
    """Make the inputs of a diffusion model at a timestep, for `extract_module(inputs=, timesteps=)`.

    The model is called with the noisy batch, and by name with `timestep`, one for each sample, and the condition.

    Parameters
    ----------
    scheduler
        A scheduler of diffusers, or any object with `add_noise(samples, noise, timesteps)`, or, for flow matching,
        `scale_noise(samples, timesteps, noise)`.
    seed
        The noise of sample i is drawn from (seed, i). It is the same at every timestep, in every batch, and in a run
        that was resumed.
    condition
        Further arguments of the model that all samples share, such as `{"class_labels": 1000}`: a number becomes a
        tensor with one value for each sample, a tensor or array is repeated for each sample. Its shape is that of one
        sample, without an axis of samples: (tokens, d) for `encoder_hidden_states`. DiT reads the number of its classes
        as "no class". Arguments that differ between samples come with them: if a batch is a dict, its first value is
        noised, and the others are arguments by name.
    """

    def __init__(self, scheduler: Any, *, seed: int = 0, condition: Mapping[str, Any] | None = None):
        self.scheduler, self.seed = scheduler, seed
        self.condition = {name: _shared(name, value) for name, value in (condition or {}).items()}

    def __call__(self, batch: Any, rows: range, timestep: float) -> dict[str, Any]:
        """Return the arguments of the model: the noisy batch, the timestep of each sample, and the condition."""
        import torch

        given: dict[str, Any] = dict(batch) if isinstance(batch, Mapping) else {}
        clean: Any = batch[0] if isinstance(batch, tuple | list) else batch
        if given:
            clean = given.pop(next(iter(given)))
        clean = torch.as_tensor(clean)
        if not 0 <= timestep < float("inf"):  # an index from the end, which some schedulers take
            raise ExtractionError(f"Timesteps are numbers of at least 0, got {timestep}.")
        noise = torch.stack([self.noise(row, clean[0].shape) for row in rows]).to(clean.device, clean.dtype)
        kind = torch.long if isinstance(timestep, int) else torch.float32
        times = torch.full((len(rows),), timestep, dtype=kind, device=clean.device)
        try:
            if hasattr(self.scheduler, "add_noise"):
                noisy = self._scaled(self.scheduler.add_noise(clean, noise, times), timestep)
            else:
                noisy = self.scheduler.scale_noise(clean, times, noise)
        except (IndexError, RuntimeError) as error:
            raise ExtractionError(
                f"{type(self.scheduler).__name__} has no timestep {timestep} ({first_line(error)[:-1]}). Take whole "
                "numbers below its num_train_timesteps, or some of its `timesteps`."
            ) from error
        given |= {name: _repeated(value, len(rows), clean.device) for name, value in self.condition.items()}
        hint = _hint(self.condition)
        return _Positional(
            (noisy,), {"timestep": times, **given}, hint
        )  # the first argument's name depends on the family

    def _scaled(self, noisy: Any, timestep: float) -> Any:
        """Noisy samples as the model reads them: those of Euler's and like schedulers are divided by their spread."""
        if not hasattr(self.scheduler, "scale_model_input"):
            return noisy
        scheduler = copy.copy(self.scheduler)  # scaling counts steps
        if hasattr(scheduler, "_step_index"):
            scheduler._step_index = None
        return scheduler.scale_model_input(noisy, timestep)

    def noise(self, row: int, shape: Any) -> Any:
        """Return the noise of one sample, in float32."""
        import torch

        return torch.from_numpy(np.random.default_rng([self.seed, row]).standard_normal(tuple(shape), np.float32))

    def spec(self) -> dict[str, Any]:
        """Return the record of the scheduler, the seed and the condition, for a store."""
        config = getattr(self.scheduler, "config", None)
        plain = {k: v for k, v in dict(config or {}).items() if isinstance(v, int | float | str | bool) or v is None}
        condition = {name: _recorded(value) for name, value in self.condition.items()}
        return {"scheduler": type(self.scheduler).__name__, **plain, "noise_seed": self.seed, "condition": condition}


class _Positional(dict):
    """Arguments by name, behind some by place; and where to look if the model fails."""

    def __init__(self, places: tuple[Any, ...], names: Mapping[str, Any], hint: str | None = None):
        super().__init__(names)
        self.places, self.hint = places, hint


def _shared(name: str, value: Any) -> Any:
    """A number or a tensor of a condition; ExtractionError for anything else."""
    import torch

    if isinstance(value, torch.Tensor | int | float):
        return value
    array = np.asarray(value) if hasattr(value, "__array__") else None
    if array is None or array.dtype.kind not in "biuf":
        raise ExtractionError(f"A condition is a number, a tensor or an array, and {name!r} is {type(value).__name__}.")
    if array.ndim == 0:
        return array.item()
    return torch.from_numpy(array.astype(np.float32) if array.dtype == np.float64 else array.copy())


def _hint(condition: Mapping[str, Any]) -> str | None:
    """Remedy for a condition whose tensors have an axis of one sample already; None if none has."""
    for name, value in condition.items():
        shape = tuple(getattr(value, "shape", ()))
        if len(shape) > 1 and shape[0] == 1:
            return (
                f"The condition {name!r} has the shape {shape}, and an axis of samples is added to it. A condition has "
                f"the shape of one sample: {shape[1:]}, as value[0] has."
            )
    return None


def _repeated(value: Any, count: int, device: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(device)[None].expand(count, *value.shape)
    return torch.full((count,), value, device=device)


def _recorded(value: Any) -> Any:
    """A number, or the shape and the hash of a tensor: a run with another prompt is no resumed one."""
    if not hasattr(value, "detach"):
        return value
    array = value.detach().cpu().float().numpy()
    return {"shape": list(array.shape), "sha256": hashlib.sha256(array.tobytes()).hexdigest()}
