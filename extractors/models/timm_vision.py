"""Vision models of timm: `forward_intermediates` says what their layers are, hooks give the same with less memory."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ExtractionError, first_line
from ..hub import explain
from .environment import compile_blocks, identity, pick_device, pick_dtype, revision_of, weights_of, with_revision
from .packaged import is_packaged, load_packaged, packaged
from .pooling import forward_hooks, pool_image

HUB_SCHEMES = ("hf_hub", "hf-hub")
"""Prefix of timm's names of models anywhere on the hub: hf_hub:owner/name@revision."""


@dataclass
class TimmTower:
    """One timm model, with its layers found.

    `blocks` are modules whose pooled outputs were found to be those of `forward_intermediates`, to the bit; None uses
    that function itself, which holds all outputs at once.
    """

    name: str
    model: Any
    preprocess: Any
    data_config: dict[str, Any]
    revision: str | None
    random_init: int | None
    device: Any
    dtype: Any
    compiled: bool = False
    names: list[str] = field(default_factory=list)
    has_class_token: bool = False
    blocks: Any = None
    weights: dict[str, Any] = field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        return {
            **identity(self.name, self.revision, self.random_init, self.dtype, compiled=self.compiled),
            "image_size": list(self.data_config["input_size"]),
            "transform": {k: list(v) if isinstance(v, tuple) else v for k, v in self.data_config.items()},
        }

    def parameters(self) -> dict[str, Any]:
        total = sum(p.numel() for p in self.model.parameters())
        head: Any = self.model.get_classifier() if hasattr(self.model, "get_classifier") else None
        in_head = sum(p.numel() for p in head.parameters()) if hasattr(head, "parameters") else 0
        return {"params_total": total, "params_backbone": total - in_head, **self.weights}

    def transform(self, image: Any) -> Any:
        return self.preprocess(image)

    def states(self, images: Any, pool: Callable[[Any, int], Any], *, final: bool) -> list[Any]:
        images = images.to(self.device, self.dtype)
        if self.blocks is None:
            return self._intermediates(images, pool, final)
        prefix, found = self._prefix, {}

        def keep(module, inputs, output):
            found[module] = pool(output, prefix)

        with forward_hooks(self.blocks, keep):
            last = self.model.forward_features(images)
        return [*(found[block] for block in self.blocks), *([self._final(last, pool)] if final else [])]

    @property
    def _prefix(self) -> int:
        return int(getattr(self.model, "num_prefix_tokens", 0) or 0) if self._returns_prefix else 0

    @property
    def _returns_prefix(self) -> bool:
        return "return_prefix_tokens" in inspect.signature(self.model.forward_intermediates).parameters

    def _intermediates(self, images: Any, pool: Callable[[Any, int], Any], final: bool) -> list[Any]:
        last, outputs = self._call(images)
        return [*(pool(output, self._prefix) for output in outputs), *([self._final(last, pool)] if final else [])]

    def _call(self, images: Any) -> tuple[Any, list[Any]]:
        """The last state after the norm, and every layer's tokens, prefix first, or feature map (batch, d, h, w)."""
        import torch

        call = self.model.forward_intermediates
        if not self._returns_prefix:
            return call(images, norm=False)
        if not self._prefix:  # asked for none, some models fail
            return call(images, norm=False, output_fmt="NLC")
        last, outputs = call(images, norm=False, output_fmt="NLC", return_prefix_tokens=True)
        return last, [torch.cat([o[1], o[0]], dim=1) if isinstance(o, tuple) else o for o in outputs]

    def _final(self, last: Any, pool: Callable[[Any, int], Any]) -> Any:
        """The state after the final norm, pooled: a network of stages may pool before it norms, in its head."""
        import torch

        if isinstance(last, torch.Tensor) and last.ndim == 3:
            norm = getattr(self.model, "fc_norm", None)
            pooled = pool(last, self._prefix)
            return norm(pooled.to(last.dtype)).float() if norm is not None else pooled
        if isinstance(last, torch.Tensor) and last.ndim == 4:
            return self.model.forward_head(last, pre_logits=True).flatten(1).float()
        raise ExtractionError(f"{self.name} has no final normed feature that can be pooled; leave out --final-norm.")

    def find_layers(self) -> None:
        """Names, class token and, where hooks on its blocks give the same, blocks."""
        import torch

        probe = torch.rand(1, *self.data_config["input_size"], generator=torch.Generator().manual_seed(0))
        probe = probe.to(self.device, self.dtype)
        with torch.inference_mode():
            try:
                _, outputs = self._call(probe)
            except (AttributeError, TypeError, AssertionError, NotImplementedError) as error:
                raise ExtractionError(f"{self.name} has no blocks or stages that timm can read: {error}.") from error
            info = [entry.get("module", "") for entry in getattr(self.model, "feature_info", None) or []]
            usable = len(info) == len(outputs) == len(set(info)) and all(info)
            self.names = info if usable else [f"stages.{i}" for i in range(len(outputs))]
            cls_token = getattr(self.model, "cls_token", None)
            self.has_class_token = cls_token is not None and self._prefix > 0
            blocks = getattr(self.model, "blocks", None)
            if blocks is None or len(blocks) != len(outputs):
                return
            pools = ("mean", "cls") if self.has_class_token else ("mean",)
            self.blocks = blocks
            try:
                for kind in pools:
                    hooked = self.states(probe, lambda o, prefix, kind=kind: pool_image(o, kind, prefix), final=False)
                    plain = [pool_image(output, kind, self._prefix) for output in outputs]
                    if not all(map(torch.equal, hooked, plain)):
                        self.blocks = None
                        return
            except (AttributeError, KeyError, TypeError, IndexError, RuntimeError):  # not tensors of tokens
                self.blocks = None


def load_timm(
    name: str,
    *,
    random_init: int | None,
    dtype: str,
    device: str,
    compiled: bool = False,
    options: dict[str, Any] | None = None,
) -> TimmTower:
    """A timm model by name, by the path of a local checkpoint folder (config.json, model.safetensors), or a package."""
    import timm
    import torch
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    if with_revision(name)[1] is not None:
        raise ExtractionError(
            f"{name} names a revision of a model of timm, which reads one by its place on the hub alone: "
            "hf_hub:owner/name@revision."
        )
    place, kind = pick_device(device), pick_dtype(dtype, device)
    folder = Path(name)
    from_package = is_packaged(name)
    source = packaged(name).architecture if from_package else f"local-dir:{folder}" if folder.is_dir() else name
    if random_init is not None:
        torch.manual_seed(random_init)
    try:
        model = timm.create_model(source, pretrained=random_init is None and not from_package, **(options or {}))
    except Exception as error:  # timm and the hub client raise many kinds: unknown name, no network, damaged file
        raise ExtractionError(_load_error(name, error)) from error
    pretrained = random_init is None
    if from_package and pretrained:
        load_packaged(name, model)
    model = model.to(place, kind).eval()
    if from_package:  # networks of convolutions, which take two thirds of the time on a CPU with channels last
        model = model.to(memory_format=torch.channels_last)
    config = resolve_data_config(dict(options or {}), model=model)
    place_on_hub = (str(folder), None) if folder.is_dir() else None
    if not from_package and place_on_hub is None:
        place_on_hub = _place_on_hub(getattr(model, "pretrained_cfg", None))
    tower = TimmTower(
        name=name,
        model=model,
        preprocess=create_transform(**config, is_training=False),
        data_config=config,
        revision=None
        if not pretrained
        else packaged(name).revision
        if from_package
        else _revision(model, place_on_hub),
        weights=weights_of(*place_on_hub) if pretrained and place_on_hub else {},
        random_init=random_init,
        device=place,
        dtype=kind,
        compiled=compiled,
    )
    tower.find_layers()
    if compiled:
        compile_blocks(tower.blocks or [])
    return tower


def _place_on_hub(config: Any) -> tuple[str, str | None] | None:
    """The repository of a model on the hub, and the revision asked for; None where timm has it from elsewhere."""
    said = (config or {}).get("hf_hub_id")
    if not said:
        return None
    repository, _, revision = said.partition("@")
    return repository, revision or None


def _revision(model: Any, place_on_hub: tuple[str, str | None] | None) -> str | None:
    """Identity of the weights: the hash of a folder, the commit on the hub, or the URL."""
    if place_on_hub is None:
        return (getattr(model, "pretrained_cfg", None) or {}).get("url") or None
    return revision_of(*place_on_hub) or place_on_hub[0]


def _load_error(name: str, error: Exception) -> str:
    place_on_hub = _named_place(name)
    told = explain(error, *place_on_hub) if place_on_hub else None
    return f"Vision model {name!r} could not be loaded: " + (
        told
        or f"{first_line(error)} Check the name (`timm.list_models('*vit*', pretrained=True)`), the network or the "
        "cache; --random-init SEED takes random weights."
    )


def _named_place(name: str) -> tuple[str, str | None] | None:
    """Where on the hub timm looks for a model of that name."""
    from timm.models import get_pretrained_cfg

    scheme, _, rest = name.partition(":")
    if scheme in HUB_SCHEMES:
        return _place_on_hub({"hf_hub_id": rest})
    try:
        config = get_pretrained_cfg(name)
    except RuntimeError:  # a tag that the architecture does not have
        return None
    return _place_on_hub(config.to_dict()) if config else None
