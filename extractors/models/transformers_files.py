"""Loading of transformers models that read files: a part of a model, with its processor and what a store records."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ExtractionError, first_line
from ..hub import explain
from .environment import compile_blocks, identity, pick_device, pick_dtype, revision_of, weights_of, with_revision
from .hidden import HiddenStates
from .weights import check_weights


@dataclass
class LoadedPart:
    """A part of a transformers model made ready, with the processor of its inputs."""

    name: str
    part: Any
    config: Any
    processor: Any
    revision: str | None
    random_init: int | None
    device: Any
    dtype: Any
    params_total: int
    params_backbone: int
    states: HiddenStates
    weights: dict[str, Any] = field(default_factory=dict)
    compiled: bool = False

    def spec(self) -> dict[str, Any]:
        """Identity of the weights, how they compute, and the settings of the processor."""
        found = identity(self.name, self.revision, self.random_init, self.dtype, compiled=self.compiled)
        files = getattr(self.processor, "image_processor", self.processor)
        if not hasattr(files, "to_json_string"):  # a tokenizer, which is part of the revision
            return found
        settings = json.loads(files.to_json_string())
        return {**found, "transform": {key: value for key, value in sorted(settings.items()) if value is not None}}

    def parameters(self) -> dict[str, Any]:
        """Parameter counts: of the whole model, and of the part that is read; and hashes of weights."""
        return {"params_total": self.params_total, "params_backbone": self.params_backbone, **self.weights}

    def settle(self, inputs: dict[str, Any]) -> None:
        """Find how states are read, by a first input."""
        self.states.settle(inputs)
        if self.compiled and self.states.blocks is not None:
            compile_blocks(self.states.blocks)

    def to_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors on the device; those of real numbers in the type of the arithmetic."""
        kinds = {name: self.dtype if value.is_floating_point() else value.dtype for name, value in inputs.items()}
        return {name: value.to(self.device, kinds[name]) for name, value in inputs.items()}


class OfPart:
    """Properties that extractors of a `LoadedPart` share."""

    loaded: LoadedPart

    @property
    def model(self) -> Any:
        return self.loaded.part

    @property
    def device(self) -> Any:
        return self.loaded.device

    def parameters(self) -> dict[str, Any]:
        return self.loaded.parameters()


def load_part(
    name: str,
    noun: str,
    find: Callable[[Any], Any],
    processor: str,
    *,
    random_init: int | None,
    dtype: str,
    device: str,
    compiled: bool = False,
    factory: str = "AutoModel",
) -> LoadedPart:
    """A model of transformers, or the part of it that `find` gives.

    Parameters
    ----------
    name
        Name on the hub, with or without a revision, or folder.
    noun
        The kind of model, for messages.
    find
        From the whole model to the part that is read.
    processor
        Name of the transformers class that makes its inputs.
    random_init, dtype, device, compiled
        As the command line has them.
    factory
        Name of the transformers class that makes the model.
    """
    import torch
    import transformers

    place, kind = pick_device(device), pick_dtype(dtype, device)
    source, revision = with_revision(name)
    fetched: dict[str, Any] = {"trust_remote_code": False, "revision": revision or "main"}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **fetched)
        made = getattr(transformers, processor).from_pretrained(source, **fetched)
        loader, info = getattr(transformers, factory), {}
        if random_init is None:
            model, info = loader.from_pretrained(source, dtype=kind, output_loading_info=True, **fetched)
        else:
            torch.manual_seed(random_init)
            model = loader.from_config(config, dtype=kind)
    except Exception as error:  # transformers and the hub client raise many kinds
        told = explain(error, source, revision) or (
            f"{first_line(error)} Check the name, the network or the cache; a local folder needs config.json, weights "
            "and preprocessor_config.json."
        )
        raise ExtractionError(f"{noun.capitalize()} model {name!r} could not be loaded: {told}") from error
    part = find(model)
    check_weights(name, model, part, info)
    return LoadedPart(
        name=name,
        part=part.to(place).eval(),
        config=part.config,
        processor=made,
        revision=revision_of(source, revision),
        random_init=random_init,
        device=place,
        dtype=kind,
        params_total=sum(p.numel() for p in model.parameters()),
        params_backbone=sum(p.numel() for p in part.parameters()),
        states=HiddenStates(name, part),
        weights=weights_of(source, revision) if random_init is None else {},
        compiled=compiled,
    )
