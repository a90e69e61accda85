"""Vision models of timm: features after every block or stage, read by forward hooks and pooled inside them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from prh_jax.feature_store import Layer
from prh_jax.feature_writer import FeatureWriter

from . import pooling
from .dataset import Dataset
from .environment import file_sha256, pick_device, pick_dtype
from .errors import ExtractionError


@dataclass
class VisionExtractor:
    """One timm model, ready to give pooled features of pictures, layer by layer."""

    name: str
    model: Any
    modules: list[tuple[str, Any]]
    transform: Any
    data_config: dict[str, Any]
    pool: str
    revision: str | None
    random_init: int | None
    device: Any
    dtype: Any
    layers: list[Layer]

    modality: ClassVar[str] = "vision"
    sample_arrays: ClassVar[dict[str, str]] = {}

    def spec(self) -> dict[str, Any]:
        """What identifies these features, apart from the data."""
        return {
            "modality": self.modality,
            "model": self.name,
            "revision": self.revision,
            "random_init": self.random_init,
            "pool": self.pool,
            "dtype_compute": str(self.dtype).removeprefix("torch."),
            "quantization": None,
            "image_size": list(self.data_config["input_size"]),
            "transform": {key: _plain(value) for key, value in self.data_config.items()},
        }

    def result(self, writer: FeatureWriter, data: Dataset) -> dict[str, Any]:
        """Parameter counts: all, and without the classifier."""
        total = sum(p.numel() for p in self.model.parameters())
        head: Any = self.model.get_classifier() if hasattr(self.model, "get_classifier") else None
        in_head = sum(p.numel() for p in head.parameters()) if hasattr(head, "parameters") else 0
        return {"params_total": total, "params_backbone": total - in_head}

    def block(self, data: Dataset, rows: range, batch_size: int, tick: Any) -> tuple[list[Any], dict[str, Any]]:
        """Features of some samples, a (rows, d) float32 array per layer."""
        import numpy as np
        import torch

        parts = []
        for start in range(rows.start, rows.stop, batch_size):
            batch = range(start, min(start + batch_size, rows.stop))
            images = torch.stack([self.transform(data.image(i)) for i in batch])
            parts.append([f.cpu().numpy() for f in self.features(images)])
            tick(len(batch))
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)], {}

    def features(self, images: Any) -> list[Any]:
        """Pooled float32 features of a batch of transformed pictures, one tensor a layer."""
        import torch

        return collect(
            self.modules,
            lambda output: pool_image(output, self.pool, self.model),
            lambda: self.model.forward_features(images.to(self.device, self.dtype)),
            torch,
        )


def collect(modules: list[tuple[str, Any]], pool: Any, forward: Any, torch: Any) -> list[Any]:
    """Run `forward` and return `pool` of each module's output, in the order of `modules`."""
    found: dict[str, Any] = {}

    def hook(name):
        def keep(module, inputs, output):
            found[name] = pool(output[0] if isinstance(output, tuple) else output)

        return keep

    handles = [module.register_forward_hook(hook(name)) for name, module in modules]
    try:
        with torch.inference_mode():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return [found[name] for name, _ in modules]


def pool_image(output: Any, pool: str, model: Any) -> Any:
    """Tokens (batch, tokens, d) or a feature map (batch, d, h, w) to (batch, d) in float32."""
    if output.ndim == 4:
        channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        return output.float().mean(dim=(1, 2) if channels_last else (2, 3))
    if pool == "cls":
        return output[:, 0].float()
    return output[:, getattr(model, "num_prefix_tokens", 0) :].float().mean(dim=1)


def has_class_token(model: Any) -> bool:
    """Whether token 0 is a class token, not a patch or a register."""
    return getattr(model, "cls_token", None) is not None and getattr(model, "num_prefix_tokens", 1) > 0


def find_modules(model: Any, name: str) -> list[tuple[str, Any]]:
    """The blocks of a transformer, or the stages of a network that has those; ExtractionError for neither."""
    blocks = getattr(model, "blocks", None)
    stages = getattr(model, "stages", None)
    if stages is None and hasattr(model, "layer1"):
        return [(f"layer{i}", getattr(model, f"layer{i}")) for i in range(1, 5)]
    for label, modules in (("blocks", blocks), ("stages", stages), ("layers", getattr(model, "layers", None))):
        if modules is not None and len(modules):
            return [(f"{label}.{i}", module) for i, module in enumerate(modules)]
    raise ExtractionError(f"{name} has neither blocks nor stages that features can be read from.")


def load(
    name: str,
    *,
    pool: str = "auto",
    random_init: int | None = None,
    dtype: str = "auto",
    device: str = "auto",
    options: dict[str, Any] | None = None,
) -> VisionExtractor:
    """A timm model by name, or by the path of a local checkpoint folder (config.json, model.safetensors).

    `random_init` draws the weights from that seed instead of loading them. `options` go to `timm.create_model`.
    """
    import timm
    import torch
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    place, kind = pick_device(device), pick_dtype(dtype, device)
    folder = Path(name)
    source = f"local-dir:{folder}" if folder.is_dir() else name
    if random_init is not None:
        torch.manual_seed(random_init)
    try:
        model = timm.create_model(source, pretrained=random_init is None, **(options or {}))
    except Exception as error:  # timm and the hub client raise many kinds: unknown name, no network, damaged file
        raise ExtractionError(_load_error(name, error)) from error
    model = model.to(place, kind).eval()
    config = resolve_data_config(dict(options or {}), model=model)
    transform = create_transform(**config, is_training=False)
    canonical = pooling.resolve(pool, "vision", has_class_token=has_class_token(model), model=name)
    modules = find_modules(model, name)
    revision = file_sha256(folder) if folder.is_dir() else _hub_revision(model)
    extractor = VisionExtractor(
        name=name,
        model=model,
        modules=modules,
        transform=transform,
        data_config=config,
        pool=canonical,
        revision=None if random_init is not None else revision,
        random_init=random_init,
        device=place,
        dtype=kind,
        layers=[],
    )
    probe = extractor.features(torch.zeros(1, *config["input_size"]))
    extractor.layers = [Layer(label, f.shape[1]) for (label, _), f in zip(modules, probe, strict=True)]
    return extractor


def _hub_revision(model: Any) -> str | None:
    config = getattr(model, "pretrained_cfg", None) or {}
    return config.get("hf_hub_id") or config.get("url") or None


def _load_error(name: str, error: Exception) -> str:
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    return (
        f"Vision model {name!r} could not be loaded: {first} Check the name (`timm.list_models('*vit*', "
        "pretrained=True)`), the network or the cache; --random-init SEED takes random weights."
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
