"""Settings of an extraction: which models, and how features of all of them are made."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from prh_jax.runtime.workers import ALONE, Worker

from ..models.classical import CLASSICAL


@dataclasses.dataclass(frozen=True)
class Settings:
    """How features are made and where they go; the same for all models of a run."""

    output_dir: str | Path = "./results/features"
    subset: str | None = None
    config: str | None = None
    pool: str = "auto"
    caption_index: int | str = 0
    prompt: bool | str = False
    max_length: int | None = None
    special_tokens: bool = True
    final_norm: bool = False
    max_seconds: float | None = None
    frames: str | None = None
    batch_size: int | str = 16
    dtype: str = "auto"
    store_dtype: str = "auto"
    device: str = "auto"
    quantize: str | None = None
    device_map: str | None = None
    compiled: bool = False
    random_init: int | None = None
    worker: Worker = ALONE
    data_workers: int = 0
    on_error: str = "fail"
    force_remake: bool = False
    force_download: bool = False


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A model to extract.

    Attributes
    ----------
    source
        Its name, or the folder of a local checkpoint.
    modality
        "language", "vision", "audio" or "video"; None finds out.
    name
        Name in its store, in place of `source`.
    random_init
        Seed of the random weights of a control; None takes what the settings say.
    """

    source: str
    modality: str | None = None
    name: str | None = None
    random_init: int | None = None

    @classmethod
    def of(cls, model: "str | tuple[str | None, str] | Wanted", modality: str | None) -> "Wanted":
        """A model as `extract` is given it."""
        if isinstance(model, Wanted):
            return model
        return cls(model, modality) if isinstance(model, str) else cls(model[1], model[0])

    @property
    def called(self) -> str:
        """Name of the model in results."""
        return self.name or self.source

    @property
    def label(self) -> str:
        """Name of the model in messages."""
        return self.called if self.random_init is None else f"{self.called} [random init {self.random_init}]"

    def settings(self, common: Settings) -> Settings:
        """The settings of all models, with the random weights of this one."""
        return common if self.random_init is None else dataclasses.replace(common, random_init=self.random_init)


def with_controls(models: Iterable[Wanted], seeds: Iterable[int]) -> list[Wanted]:
    """Each model, and after it the same network with random weights of each seed.

    The revisions of one model, `name@step1000`, have one control. Classical features have no weights, and none.
    """
    made: list[Wanted] = []
    seeds, had = list(seeds), set()
    for model in models:
        made.append(model)
        base = model.called.partition("@")[0]
        if base not in CLASSICAL and base not in had:
            made += [dataclasses.replace(model, random_init=seed) for seed in seeds]
        had.add(base)
    return made
