"""Blocks and stages equal timm's forward_intermediates; class tokens are taken only where there are some."""

import hashlib

import numpy as np
import pytest
import timm
import torch

from extractors.errors import ExtractionError
from extractors.models import vision
from extractors.pipeline import prefetch
from extractors.pipeline.batches import BatchSize, extract_block
from extractors.pipeline.prefetch import prepared
from extractors.pipeline.run import modality_of

# name, options that keep it small, pooling that auto resolves to
TOKENS = [
    ("vit_tiny_patch16_224", {"depth": 3}, "cls"),
    ("deit_tiny_distilled_patch16_224", {"depth": 2}, "cls"),
    ("vit_small_patch14_dinov2", {"img_size": 70, "depth": 2}, "cls"),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 70, "depth": 2}, "cls"),
    ("vit_small_patch16_dinov3", {"img_size": 64, "depth": 2}, "cls"),
    ("vit_base_patch16_clip_224", {"depth": 2}, "cls"),
    ("eva02_tiny_patch14_224", {"depth": 2}, "cls"),
    ("vit_base_patch16_siglip_224", {"depth": 2}, "mean"),
    ("vit_relpos_small_patch16_224", {"depth": 2}, "mean"),
    ("vit_tiny_patch16_224", {"depth": 2, "class_token": False, "reg_tokens": 4, "global_pool": "avg"}, "mean"),
]
# name, options, widths: also where a "class token" joins only later blocks (cait, xcit, volo)
MAPS = [
    ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1)}, [96, 192, 384, 768]),
    ("resnet18", {}, [64, 64, 128, 256, 512]),
    ("efficientnet_b0", {}, [16, 24, 40, 112, 320]),
    ("mixer_s16_224", {}, [512] * 8),
    ("cait_xxs24_224", {"depth": 2}, [192, 192]),
    ("xcit_nano_12_p16_224", {"depth": 2}, [128, 128]),
    ("crossvit_tiny_240", {}, [96, 96, 96, 192, 192, 192]),
    ("volo_d1_224", {}, [192, 384, 384, 384]),
]


def images(extractor, data, n=2):
    return [extractor.prepare(data, i)[0] for i in range(n)]


def identity(value):
    return value if isinstance(value, str) else None


@pytest.mark.parametrize("name, options, auto", TOKENS, ids=identity)
def test_blocks_are_forward_intermediates(name, options, auto, few):
    extractor = vision.load(name, random_init=0, options=options, final_norm=True)
    assert extractor.pool == auto and extractor.tower.blocks is not None
    batch = images(extractor, few)
    with torch.inference_mode():
        last, expected = extractor.model.forward_intermediates(
            torch.stack(batch), norm=False, output_fmt="NLC", **{"return_prefix_tokens": True} if auto == "cls" else {}
        )
    for pool in {auto, "mean"}:
        extractor.pool = pool
        *states, final = extractor.forward(batch)[0]
        assert len(states) == len(expected) == len(extractor.layers) - 1
        for state, whole in zip(states, expected, strict=True):
            patches, prefix = whole if isinstance(whole, tuple) else (whole, None)
            assert torch.equal(state, prefix[:, 0] if pool == "cls" else patches.mean(1))
        normed = last[:, 0] if pool == "cls" else last[:, extractor.model.num_prefix_tokens :].mean(1)
        norm = getattr(extractor.model, "fc_norm", None) or torch.nn.Identity()
        with torch.inference_mode():
            assert torch.equal(final, norm(normed))


@pytest.mark.parametrize("name, options, widths", MAPS, ids=identity)
def test_stages_are_forward_intermediates(name, options, widths, few):
    extractor = vision.load(name, random_init=0, options=options)
    batch = images(extractor, few)
    with torch.inference_mode():
        expected = extractor.model.forward_intermediates(torch.stack(batch), norm=False, intermediates_only=True)
    states, _ = extractor.forward(batch)
    assert widths == [layer.dim for layer in extractor.layers] == [s.shape[1] for s in states]
    for state, whole in zip(states, expected, strict=True):
        assert whole.ndim == 4 and torch.equal(state, whole.mean((2, 3)))
    with pytest.raises(ExtractionError, match="a patch or a register.*mean"):
        vision.load(name, random_init=0, options=options, pool="cls")


def test_the_final_norm_of_stages_is_what_the_classifier_sees(few):
    for name in ("convnext_atto", "resnet18"):
        extractor = vision.load(name, random_init=0, final_norm=True)
        batch = images(extractor, few)
        with torch.inference_mode():
            whole = extractor.model.forward_features(torch.stack(batch))
            seen = extractor.model.forward_head(whole, pre_logits=True)
            assert torch.equal(extractor.forward(batch)[0][-1], seen)
            assert torch.equal(extractor.model.get_classifier()(seen), extractor.model(torch.stack(batch)))
        assert extractor.layers[-1].name == "final_norm"


SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
TOWERS = {
    "clip_vision_model": ("CLIPImageProcessor", {}, 1),
    "siglip_vision_model": ("SiglipImageProcessor", {}, 0),
    "dinov2": ("BitImageProcessor", {}, 1),
    "dinov2_with_registers": ("BitImageProcessor", {"num_register_tokens": 4}, 5),
    "dinov3_vit": ("DINOv3ViTImageProcessor", {"num_register_tokens": 4}, 5),
    "vit": ("ViTImageProcessor", {}, 1),
}


def tower_checkpoint(path, kind, **extra):
    """A tiny vision model of transformers with its image processor, on disk."""
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, **SMALL, image_size=32, patch_size=8, **extra)
    transformers.AutoModel.from_config(config).save_pretrained(path)
    processor = getattr(transformers, TOWERS[kind][0])
    processor(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("kind", TOWERS)
def test_towers_of_transformers_come_through_the_same_door(kind, tmp_path, few):
    _, extra, prefix = TOWERS[kind]
    path = tower_checkpoint(tmp_path / "model", kind, **extra)
    assert modality_of(path) == "vision"
    extractor = vision.load(path, final_norm=True)
    assert extractor.pool == ("cls" if prefix else "mean")
    batch = images(extractor, few)
    with torch.inference_mode():
        output = extractor.model(pixel_values=torch.stack(batch), output_hidden_states=True)
    last = output.last_hidden_state
    if kind == "clip_vision_model":
        with torch.inference_mode():
            last = extractor.model.post_layernorm(last)
    for pool in {extractor.pool, "mean"}:
        extractor.pool = pool
        states, _ = extractor.forward(batch)
        assert len(states) == 4 and len(output.hidden_states) == 4
        for state, whole in zip(states, [*output.hidden_states[1:], last], strict=True):
            assert torch.equal(state, whole[:, 0] if pool == "cls" else whole[:, prefix:].mean(1))
    spec = extractor.spec()
    assert spec["image_size"] == [3, 32, 32] and spec["transform"]["image_mean"] and spec["revision"]
    if not prefix:
        with pytest.raises(ExtractionError, match="a patch or a register"):
            vision.load(path, pool="cls")


def test_models_with_two_towers_give_their_vision(tmp_path, few):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    text = SMALL | {"vocab_size": 100, "max_position_embeddings": 16}
    config = CLIPConfig(text_config=text, vision_config=SMALL | {"image_size": 32, "patch_size": 8}, projection_dim=16)
    model = CLIPModel(config)
    model.save_pretrained(tmp_path)
    CLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False).save_pretrained(tmp_path)
    extractor = vision.load(str(tmp_path))
    batch = images(extractor, few)
    with torch.inference_mode():
        expected = model.eval().vision_model(torch.stack(batch), output_hidden_states=True).hidden_states
    for state, whole in zip(extractor.forward(batch)[0], expected[1:], strict=True):
        assert torch.equal(state, whole[:, 0])
    counts = extractor.parameters()
    assert counts["params_total"] == sum(p.numel() for p in model.parameters()) > counts["params_backbone"]


def test_other_families_of_transformers_are_named(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit_mae"}')
    with pytest.raises(ExtractionError, match="vit_mae model of transformers.*clip.*dinov3_vit.*extract_module"):
        vision.load(str(tmp_path))


class Noisy(torch.nn.Module):
    """A tower of one layer whose states depend on the batch, or on chance."""

    name, names, has_class_token, dtype, device = "noisy", ["layer"], False, torch.float32, None

    def __init__(self, random):
        super().__init__()
        self.random = random

    def spec(self):
        return {"image_size": [3, 4, 4]}

    def states(self, images, pool, *, final):
        noise = torch.rand(1) if self.random else images.mean()
        return [pool(images + noise, 0)]


def test_pictures_that_change_one_another_are_run_one_at_a_time():
    extractor = vision.VisionExtractor(Noisy(random=False), "mean")
    assert extractor.alone and extractor.spec()["batch"] == "one picture at a time"
    pictures = list(torch.rand(3, 3, 4, 4))
    expected = torch.stack([(picture + picture.mean()).mean((1, 2)) for picture in pictures])
    torch.testing.assert_close(extractor.forward(pictures)[0][0], expected)
    with pytest.raises(ExtractionError, match="noisy cannot be read: .*draws random numbers"):
        vision.VisionExtractor(Noisy(random=True), "mean")
    ordinary = vision.load("test_vit", random_init=0)
    assert not ordinary.alone and "batch" not in ordinary.spec()


def test_batches_do_not_change_rows(few):
    extractor = vision.load("vit_tiny_patch16_224", random_init=0, options={"depth": 2})
    rows = (extractor.prepare(few, i) for i in range(3, 10))
    whole, _ = extract_block(extractor, rows, 7, BatchSize(3))
    for layer, one in enumerate(extractor.forward(images(extractor, few, 10))[0]):
        np.testing.assert_allclose(whole[layer], one[3:].numpy(), atol=1e-5)


def test_data_workers_keep_the_order_of_rows(few):
    extractor = vision.load("vit_tiny_patch16_224", random_init=0, options={"depth": 1, "img_size": 32})
    rows = [7, 3, 250, 4, 5, 299, 0]
    alone, shared = (list(prepared(extractor, few, rows, count)) for count in (0, 3))
    for row, a, b in zip(rows, alone, shared, strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[0], extractor.prepare(few, row)[0])


def test_a_scrambled_order_is_an_error(few, monkeypatch):
    """Rows in another order are the worst failure of all: every layer at chance, found late."""
    extractor = vision.load("vit_tiny_patch16_224", random_init=0, options={"depth": 1, "img_size": 32})
    monkeypatch.setattr(prefetch, "_loaded", lambda samples, count: iter([samples[1], samples[0]]))
    with pytest.raises(ExtractionError, match="Row 4 came where row 3 was due"):
        list(prepared(extractor, few, [3, 4], 2))


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 4}])
def test_cls_is_refused_where_token_zero_is_no_class_token(options):
    options = {"depth": 1, "class_token": False, "global_pool": "avg", **options}
    for pool in ("cls", "none"):
        with pytest.raises(ExtractionError, match="a patch or a register.*mean"):
            vision.load("vit_tiny_patch16_224", random_init=0, pool=pool, options=options)
    with pytest.raises(ExtractionError, match="cls"):
        vision.load("resnet18", random_init=0, pool="cls")
    with pytest.raises(ExtractionError, match="--pool last does not apply"):
        vision.load("vit_tiny_patch16_224", random_init=0, pool="last", options={"depth": 1})


def test_none_is_the_references_name_for_cls():
    assert vision.load("vit_tiny_patch16_224", random_init=0, pool="none", options={"depth": 1}).pool == "cls"


def test_a_local_checkpoint_loads_its_weights(tmp_path):
    torch.manual_seed(5)
    model = timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=3)
    timm.models.save_for_hf(model, tmp_path, model_args={"depth": 2, "num_classes": 3})
    extractor = vision.load(str(tmp_path))
    assert extractor.spec()["revision"].startswith("sha256:")
    assert modality_of(str(tmp_path)) == "vision"
    state, original = extractor.model.state_dict(), model.state_dict()
    assert all(torch.equal(state[key], original[key]) for key in original)
    total = sum(p.numel() for p in model.parameters())
    (file,) = tmp_path.glob("*.bin")
    weights = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()}
    assert extractor.parameters() == {
        "params_total": total,
        "params_backbone": total - 192 * 3 - 3,
        "weights": weights,
    }


def test_unknown_models_are_named():
    with pytest.raises(ExtractionError, match="'vit_nothing' could not be loaded"):
        vision.load("vit_nothing", random_init=0)
