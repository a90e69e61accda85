"""Any torch module: layers by pattern, poolings by name, data sets, several models, timesteps of diffusion."""

import numpy as np
import pytest
import torch

from extractors import Noised, Target, extract_module, extract_modules, open_clip_model, torchvision_model
from extractors.errors import ExtractionError
from extractors.layers import named_layers, named_pool

IDS = [f"s{i}" for i in range(300)]


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = torch.nn.Linear(6, 6)

    def forward(self, x):
        return x + torch.tanh(self.mlp(x)), "rest"


class Net(torch.nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block() for _ in range(depth))
        self.head = torch.nn.Linear(6, 2)

    def forward(self, x):
        for block in self.blocks:
            x, _ = block(x)
        return {"logits": self.head(x.mean(dim=1))}


def test_patterns_name_layers_in_the_order_of_the_module():
    net = Net(12)
    assert named_layers(net, ["blocks.*"]) == [f"blocks.{i}" for i in range(12)]
    assert named_layers(net, ["blocks.1?", "head", "blocks.*.mlp"])[:4] == [
        "blocks.10",
        "blocks.11",
        "head",
        "blocks.0.mlp",
    ]
    assert named_layers(net, ["head", "head"]) == ["head"]
    for patterns, message in (
        (["block.*"], r"no layer 'block.\*'; it has blocks"),
        ("blocks.*", "layers is a list of names"),
        ([], "layers is a list of names"),
    ):
        with pytest.raises(ExtractionError, match=message):
            named_layers(net, patterns)


def test_poolings_by_name_are_those_of_numpy():
    rng = np.random.default_rng(0)
    tokens, maps = rng.standard_normal((4, 5, 3)), rng.standard_normal((4, 3, 2, 5))
    for name, given, expected in (
        ("mean", tokens, tokens.mean(axis=1)),
        ("mean", maps, maps.mean(axis=(2, 3))),
        ("max", tokens, tokens.max(axis=1)),
        ("max", maps, maps.max(axis=(2, 3))),
        ("cls", tokens, tokens[:, 0]),
        ("last", tokens, tokens[:, -1]),
        ("flatten", maps, maps.reshape(4, -1)),
        ("none", tokens[:, 0], tokens[:, 0]),
    ):
        for output in (torch.from_numpy(given), (torch.from_numpy(given), None), {"a": torch.from_numpy(given)}):
            np.testing.assert_allclose(named_pool(name)(output).numpy(), expected, rtol=0, atol=1e-6)
    with pytest.raises(ExtractionError, match="choose one of mean, max"):
        named_pool("median")
    for name, given in (("cls", maps), ("none", tokens)):
        with pytest.raises(ValueError, match=f'"{name}" reads'):
            named_pool(name)(torch.from_numpy(given))


def test_a_data_set_two_models_and_a_stop(tmp_path):
    """Samples with their preprocessing, read once for both; the second run does the blocks that the first one lacks."""
    rng, seen = np.random.default_rng(0), []
    samples = [rng.standard_normal((5, 6)) for _ in IDS]

    def transform(sample):
        seen.append(1)
        if len(seen) == 280 and stop:
            raise KeyboardInterrupt
        return torch.from_numpy(sample).float() * 2

    torch.manual_seed(0)
    nets = [Net(3), Net(2)]

    def run(folder):
        targets = [
            Target(folder / f"{i}.zarr", net, ["blocks.*"], "mean", {"model": f"net-{i}"}) for i, net in enumerate(nets)
        ]
        return extract_modules(targets, samples, ids=IDS, transform=transform, batch_size=32, quiet=True)

    stop = False
    whole = run(tmp_path / "whole")
    assert len(seen) == 300
    stop, seen[:] = True, []
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped")
    stop = False
    resumed = run(tmp_path / "stopped")
    states = torch.from_numpy(np.stack(samples)).float() * 2
    for net, one, again in zip(nets, whole, resumed, strict=True):
        x = states
        for layer, block in enumerate(net.blocks):
            with torch.inference_mode():
                x, _ = block(x)
            assert np.abs(one.read_layer(layer) - x.mean(dim=1).numpy()).max() < 1e-5
            assert np.array_equal(one.read_layer(layer), again.read_layer(layer))
        assert one.spec["pool"] == "mean"
    with pytest.raises(ExtractionError, match="give batch_size too"):
        extract_module(tmp_path / "a", nets[0], [], layers=["head"], pool="none", ids=IDS, spec={}, transform=transform)
    with pytest.raises(ExtractionError, match='"none" reads'):
        extract_module(tmp_path / "a", nets[0], [states], layers=["blocks.*"], pool="none", ids=IDS, spec={})


def dit():
    from diffusers import DiTTransformer2DModel

    torch.manual_seed(0)
    model = DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8,
        patch_size=2, norm_num_groups=4, num_embeds_ada_norm=10,
    )  # fmt: skip
    return model, ["transformer_blocks.*"], {"class_labels": 10}


def unet():
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    model = UNet2DModel(
        sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    return model, ["mid_block", "up_blocks.*"], {}


@pytest.mark.parametrize("make", [dit, unet])
def test_layers_of_diffusion_at_timesteps(make, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    model, layers, condition = make()
    model.eval()
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=1000)
    latents = torch.randn(7, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    def run(folder, batches):
        return extract_module(
            tmp_path / folder, model, batches, layers=layers, pool="mean", ids=IDS[:7], spec={"model": "tiny"},
            inputs=Noised(scheduler, seed=3, condition=condition), timesteps=[50, 900], quiet=True,
        )  # fmt: skip

    store = run("a.zarr", latents.split(7))
    names = named_layers(model, layers)
    assert [layer.name for layer in store.layers] == [f"{name}@{t}" for t in (50, 900) for name in names]
    assert store.spec["inputs"]["noise_seed"] == 3 and store.spec["timesteps"] == [50, 900]
    modules = dict(model.named_modules())
    for i, layer in enumerate(store.layers):
        name, time = layer.name.split("@")
        found = []
        handle = modules[name].register_forward_hook(lambda m, a, output, found=found: found.append(output))
        noise = [np.random.default_rng([3, row]).standard_normal((4, 8, 8), np.float32) for row in range(7)]
        level = scheduler.alphas_cumprod[int(time)] ** 0.5, (1 - scheduler.alphas_cumprod[int(time)]) ** 0.5
        noisy = level[0] * latents + level[1] * torch.from_numpy(np.stack(noise))
        given = {key: torch.full((7,), value) for key, value in condition.items()}
        with torch.inference_mode():
            model(noisy, torch.full((7,), int(time)), **given)
        handle.remove()
        expected = found[0].mean(dim=1 if found[0].ndim == 3 else (2, 3)).numpy()
        assert np.array_equal(store.read_layer(i), expected)
    split = run("b.zarr", latents.split(3))  # the noise of a sample does not depend on its batch
    for i in range(len(store.layers)):
        assert np.abs(split.read_layer(i) - store.read_layer(i)).max() < 1e-5
    with pytest.raises(ExtractionError, match="timesteps need inputs="):
        extract_module(
            tmp_path / "c.zarr", model, [latents], layers=layers, pool="mean", ids=IDS[:7], spec={}, timesteps=[1]
        )


def test_models_of_torchvision_come_with_their_transform(few, tmp_path):
    adapted = torchvision_model("resnet18")
    assert named_layers(adapted.model, adapted.layers) == [f"layer{i}" for i in range(1, 5)]
    data = few.select(range(3))
    store = extract_module(
        tmp_path / "a.zarr", adapted.model, data.images(), transform=adapted.transform, batch_size=2, quiet=True,
        layers=adapted.layers, pool="mean", ids=data.ids, spec={"model": "resnet18", "modality": "vision"},
    )  # fmt: skip
    x = torch.stack([adapted.transform(data.image(row)) for row in range(3)])
    with torch.inference_mode():
        x = adapted.model.maxpool(adapted.model.relu(adapted.model.bn1(adapted.model.conv1(x))))
        for i in range(4):
            x = getattr(adapted.model, f"layer{i + 1}")(x)
            assert np.abs(store.read_layer(i) - x.mean(dim=(2, 3)).numpy()).max() < 1e-5 * float(x.abs().max())
    torch.save(adapted.model.state_dict(), tmp_path / "weights.pth")
    again = torchvision_model("resnet18", str(tmp_path / "weights.pth"))
    assert all(map(torch.equal, again.model.state_dict().values(), adapted.model.state_dict().values()))
    for name, weights, message in (("resnet", None, "no classifier 'resnet'"), ("resnet18", "none", "cannot be read")):
        with pytest.raises(ExtractionError, match=message):
            torchvision_model(name, weights)


def test_towers_of_open_clip(few, tmp_path):
    open_clip = pytest.importorskip("open_clip")
    name = "RN50" if "ViT-S-32-alt" not in open_clip.list_models() else "ViT-S-32-alt"
    adapted = open_clip_model(name, tower="text")
    data = few.select(range(2))
    store = extract_module(
        tmp_path / "t.zarr", adapted.model, few.captions()[:2], transform=adapted.transform, batch_size=2, quiet=True,
        layers=adapted.layers, pool="mean", ids=data.ids, spec={"model": name, "modality": "language"},
    )  # fmt: skip
    tokens = open_clip.get_tokenizer(name)(few.captions()[:2])
    found = []
    adapted.model.transformer.resblocks[-1].register_forward_hook(lambda m, a, output: found.append(output))
    with torch.inference_mode():
        adapted.model(tokens)
    assert np.array_equal(store.read_layer(len(store.layers) - 1), found[0].mean(dim=1).numpy())
    with pytest.raises(ExtractionError, match="cannot be made"):
        open_clip_model("no-such-model")
