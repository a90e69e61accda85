"""Vision models of transformers: towers of CLIP and SigLIP, DINOv2, DINOv3, ViT and their kin."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ExtractionError
from ..hub import explain
from .environment import compile_blocks, identity, with_revision
from .pooling import forward_hooks
from .transformers_files import load_part

FAMILIES = (
    *("clip", "clip_vision_model", "siglip", "siglip_vision_model", "metaclip_2", "chinese_clip", "dinov2"),
    *("dinov2_with_registers", "dinov3_vit", "vit", "deit", "ijepa"),
)


@dataclass
class TransformersTower:
    """The vision side of a transformers model: its layers' outputs are the features, the state after the norm last."""

    name: str
    model: Any
    processor: Any
    revision: str | None
    random_init: int | None
    device: Any
    dtype: Any
    params_total: int
    weights: dict[str, Any] = field(default_factory=dict)
    compiled: bool = False
    blocks: Any = None
    names: list[str] = field(default_factory=list)
    has_class_token: bool = False
    prefix: int = 0

    def spec(self) -> dict[str, Any]:
        settings = json.loads(self.processor.to_json_string())
        return {
            **identity(self.name, self.revision, self.random_init, self.dtype, compiled=self.compiled),
            "image_size": self.image_size,
            "transform": {key: value for key, value in sorted(settings.items()) if value is not None},
        }

    def parameters(self) -> dict[str, Any]:
        backbone = sum(p.numel() for p in self.model.parameters())
        return {"params_total": self.params_total, "params_backbone": backbone, **self.weights}

    @property
    def image_size(self) -> list[int]:
        from PIL import Image

        return list(self.transform(Image.new("RGB", (64, 64))).shape)

    def transform(self, image: Any) -> Any:
        return self.processor(images=image, return_tensors="pt")["pixel_values"][0]

    def states(self, images: Any, pool: Callable[[Any, int], Any], *, final: bool) -> list[Any]:
        found: dict[Any, Any] = {}

        def keep(module, inputs, output):
            found[module] = pool(output[0] if isinstance(output, tuple) else output, self.prefix)

        with forward_hooks(self.blocks, keep):
            output = self.model(pixel_values=images.to(self.device, self.dtype))
        states = [found[block] for block in self.blocks]
        return [*states, pool(self._normed(output.last_hidden_state), self.prefix)] if final else states

    def _normed(self, state: Any) -> Any:
        """The last state after the final norm, which CLIP has outside of its model's path to it."""
        norm = getattr(self.model, "post_layernorm", None)
        return state if norm is None or self.model.config.model_type.startswith("siglip") else norm(state)

    def find_layers(self) -> None:
        """The list of layers, and which tokens come before the patches; ExtractionError where it is not clear."""
        import torch

        config = self.model.config
        count = config.num_hidden_layers
        lists = [m for m in self.model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == count]
        if not lists:
            raise ExtractionError(f"{self.name} ({type(self.model).__name__}) has no list of {count} layers.")
        self.blocks = lists[0]
        self.names = [f"layers.{i}" for i in range(count)]
        parameters = {name.rsplit(".", 1)[-1] for name, _ in self.model.named_parameters()}
        self.has_class_token = bool(parameters & {"cls_token", "class_embedding"})
        self.prefix = int(self.has_class_token) + int("distillation_token" in parameters)
        if parameters & {"register_tokens"}:
            self.prefix += config.num_register_tokens
        size = self.image_size
        with torch.inference_mode():
            (tokens,) = {s.shape[1] for s in self.states(torch.zeros(1, *size), lambda o, _: o, final=False)}
        patches = (size[1] // config.patch_size) * (size[2] // config.patch_size)
        if tokens != patches + self.prefix:
            raise ExtractionError(
                f"{self.name} gives {tokens} tokens for {patches} patches and {self.prefix} tokens before them; which "
                "of them are patches is not clear."
            )


def timm_knows(name: str) -> bool:
    """Whether a name, its source, owner and tag left out, is one of timm's architectures."""
    import timm

    return timm.is_model(name.split("@")[0].split(":")[-1].split("/")[-1].split(".")[0])


def model_type(name: str, failed: str) -> str | None:
    """The family that a checkpoint's configuration names, read from the folder, or from the hub; None for timm's.

    ExtractionError where the hub does not give the configuration of a name that none but transformers could load. Its
    message begins with `failed`.
    """
    path = Path(name) / "config.json"
    if path.is_file():
        return json.loads(path.read_text()).get("model_type")
    if timm_knows(name) or "/" not in name or ":" in name or Path(name).exists():
        return None
    from transformers import AutoConfig

    source, revision = with_revision(name)
    try:
        return AutoConfig.from_pretrained(source, revision=revision or "main", trust_remote_code=False).model_type
    except Exception as error:
        told = explain(error, source, revision)
        if told is not None:
            raise ExtractionError(f"{failed}: {told}") from error
        return None  # a configuration of another library: loading it will say so


def is_transformers(name: str) -> bool:
    """Whether a vision model is one of transformers; ExtractionError for a family whose layers are not known."""
    family = model_type(name, f"Vision model {name!r} could not be loaded")
    if family is not None and family not in FAMILIES:
        raise ExtractionError(
            f"{name} is a {family} model of transformers; of its vision models these are read: {', '.join(FAMILIES)}. "
            "timm has most others under a name of its own; extractors.extract_module reads any torch module."
        )
    return family is not None


def load_tower(
    name: str, *, random_init: int | None, dtype: str, device: str, compiled: bool = False
) -> TransformersTower:
    """A vision model, or the vision side of one with two, with its image processor."""
    common = {"random_init": random_init, "dtype": dtype, "device": device}
    loaded = load_part(
        name, "vision", lambda model: getattr(model, "vision_model", model), "AutoImageProcessor", **common
    )
    tower = TransformersTower(
        name=name,
        model=loaded.part,
        processor=loaded.processor,
        revision=loaded.revision,
        random_init=random_init,
        device=loaded.device,
        dtype=loaded.dtype,
        params_total=loaded.params_total,
        weights=loaded.weights,
        compiled=compiled,
    )
    tower.find_layers()
    if compiled:
        compile_blocks(tower.blocks)
    return tower
