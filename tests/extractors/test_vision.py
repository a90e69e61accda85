"""Hooks on blocks and stages equal timm's forward_intermediates; class tokens are taken only where there are some."""

import numpy as np
import pytest
import timm
import torch

from extractors import vision
from extractors.errors import ExtractionError

# name, options that keep it small, pooling that auto resolves to
MODELS = [
    ("vit_tiny_patch16_224", {"depth": 4}, "cls"),
    ("vit_small_patch14_dinov2", {"img_size": 70, "depth": 3}, "cls"),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 70, "depth": 3}, "cls"),
    ("vit_base_patch16_clip_224", {"depth": 3}, "cls"),
    ("eva02_tiny_patch14_224", {"depth": 3}, "cls"),
    ("vit_base_patch16_siglip_224", {"depth": 2}, "mean"),
    ("vit_tiny_patch16_224", {"depth": 3, "class_token": False, "reg_tokens": 4, "global_pool": "avg"}, "mean"),
]
STAGES = [("resnet18", 4), ("convnext_atto", 4)]


def images(extractor, data, n=5):
    return torch.stack([extractor.transform(data.image(i)) for i in range(n)])


@pytest.mark.parametrize("name, options, auto", MODELS, ids=lambda v: v if isinstance(v, str) else None)
def test_blocks_are_forward_intermediates(name, options, auto, few):
    extractor = vision.load(name, random_init=0, options=options)
    assert extractor.pool == auto
    batch = images(extractor, few)
    with torch.inference_mode():
        expected = extractor.model.forward_intermediates(
            batch, norm=False, intermediates_only=True, output_fmt="NLC", return_prefix_tokens=True
        )
    for pool in {auto, "mean"}:
        extractor.pool = pool
        states = extractor.features(batch)
        assert len(states) == len(expected) == len(extractor.layers)
        for state, whole in zip(states, expected, strict=True):
            patches, prefix = whole if isinstance(whole, tuple) else (whole, None)
            assert torch.equal(state, prefix[:, 0] if pool == "cls" else patches.mean(1))


@pytest.mark.parametrize("name, stages", STAGES)
def test_stages_are_forward_intermediates(name, stages, few):
    extractor = vision.load(name, random_init=0)
    batch = images(extractor, few)
    with torch.inference_mode():
        expected = extractor.model.forward_intermediates(batch, norm=False, intermediates_only=True)[-stages:]
    states = extractor.features(batch)
    assert [s.shape[1] for s in states] == [layer.dim for layer in extractor.layers]
    assert len({layer.dim for layer in extractor.layers}) == stages == len(states)
    for state, whole in zip(states, expected, strict=True):
        assert torch.equal(state, whole.mean((2, 3)))


def test_batches_do_not_change_rows(few):
    extractor = vision.load("vit_tiny_patch16_224", random_init=0, options={"depth": 2})
    whole, _ = extractor.block(few, range(3, 10), 7, lambda n: None)
    for layer, one in enumerate(extractor.features(images(extractor, few, 10))):
        np.testing.assert_allclose(whole[layer], one[3:].numpy(), atol=1e-5)


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


def test_a_local_checkpoint_loads_its_weights(tmp_path, few):
    torch.manual_seed(5)
    model = timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=3)
    timm.models.save_for_hf(model, tmp_path, model_args={"depth": 2, "num_classes": 3})
    extractor = vision.load(str(tmp_path))
    assert extractor.revision.startswith("sha256:")
    state, original = extractor.model.state_dict(), model.state_dict()
    assert all(torch.equal(state[key], original[key]) for key in original)
    total = sum(p.numel() for p in model.parameters())
    assert extractor.result(None, few) == {"params_total": total, "params_backbone": total - 192 * 3 - 3}


def test_unknown_models_are_named():
    with pytest.raises(ExtractionError, match="'vit_nothing' could not be loaded"):
        vision.load("vit_nothing", random_init=0)
