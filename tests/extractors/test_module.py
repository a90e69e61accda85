"""Any torch module: layers by pattern, poolings by name, data sets, several models, timesteps of diffusion."""

import dataclasses

import numpy as np
import pytest
import torch

from extractors import Noised, Target, extract_module, extract_modules, open_clip_model, torchvision_model
from extractors.adapters import _adapted
from extractors.errors import ExtractionError
from extractors.layers import named_layers, named_pool
from prh_jax.errors import StoreError

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
        (["block.*"], r"no layer 'block.\*'; it has 'blocks.\*' \(blocks.0, blocks.1 ... blocks.11\), "),
        (["blocks.12"], r"no layer 'blocks.12'; it has 'blocks.\*' \(blocks.0, blocks.1 ... blocks.11\), "),
        (["heed"], r"no layer 'heed'; it has head\.$"),
        ("blocks.*", "layers is a list of names"),
        ([], "layers is a list of names"),
    ):
        with pytest.raises(ExtractionError, match=message):
            named_layers(net, patterns)


@dataclasses.dataclass
class Output:
    count: int
    state: torch.Tensor


def test_poolings_by_name_are_those_of_numpy():
    rng = np.random.default_rng(0)
    tokens, maps = rng.standard_normal((4, 5, 3)), rng.standard_normal((4, 3, 2, 5))
    for name, given, expected in (
        ("mean", tokens, tokens.mean(axis=1)),
        ("mean", maps, maps.mean(axis=(2, 3))),
        ("mean_channels_last", maps, maps.mean(axis=(1, 2))),
        ("max", tokens, tokens.max(axis=1)),
        ("max", maps, maps.max(axis=(2, 3))),
        ("cls", tokens, tokens[:, 0]),
        ("last", tokens, tokens[:, -1]),
        ("flatten", maps, maps.reshape(4, -1)),
        ("none", tokens[:, 0], tokens[:, 0]),
    ):
        tensor = torch.from_numpy(given)
        for output in (tensor, (None, tensor), {"a": tensor}, Output(7, tensor)):
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
        if len(seen) == 296 and stop:
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
    assert len(seen) == 300 + 16  # eight samples are read twice before, to see that nothing is drawn by chance
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
    for more, message in (
        ({"pool": "none"}, '"none" reads'),
        ({"spec": {"pool": "cls"}}, "The spec has pool = 'cls', and features are made with 'mean'"),
        ({"ids": None}, "ids of the samples are missing"),
    ):
        arguments = {"layers": ["blocks.*"], "pool": "mean", "ids": IDS, "spec": {}} | more
        with pytest.raises(ExtractionError, match=message):
            extract_module(tmp_path / "a", nets[0], [states], **arguments)
    assert not (tmp_path / "a").exists()


def test_texts_and_samples_without_ids(tmp_path):
    class Lengths(torch.nn.Module):
        def forward(self, texts):
            return torch.tensor([[float(len(text))] for text in texts])

    texts = ["a", "two", "three"]
    arguments = {"layers": [""], "pool": "none", "spec": {"model": "m"}, "batch_size": 2, "quiet": True}
    store = extract_module(tmp_path / "a.zarr", Lengths(), texts, **arguments)
    assert list(store.ids) == ["0", "1", "2"] and store.read_layer(0)[:, 0].tolist() == [1, 3, 5]


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
    arguments = {"layers": layers, "pool": "mean", "ids": IDS[:7], "spec": {}}
    for more, message in (
        ({}, "timesteps need inputs="),
        ({"inputs": Noised(scheduler)}, "DDPMScheduler has no timestep 1000"),
    ):
        with pytest.raises(ExtractionError, match=message):
            extract_module(tmp_path / "c.zarr", model, [latents], timesteps=[1000], **arguments, **more)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "LMSDiscreteScheduler", "HeunDiscreteScheduler"])
def test_noisy_inputs_are_scaled_as_the_model_reads_them(name):
    """The model of a scheduler by spreads reads sqrt(a) x + sqrt(1 - a) noise, as that of a scheduler by shares."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = getattr(diffusers, name)(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    kept = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    x, noised = torch.randn(75, 6, 2, 2), Noised(scheduler, seed=5)
    noise = np.stack([np.random.default_rng([5, row]).standard_normal((6, 2, 2), np.float32) for row in range(75)])
    for time in (0, 500, 999, 500):  # scaling counts steps, and a run goes back to the first one
        (found,) = noised(x, range(75), time).places
        assert np.abs(found.numpy() - (kept[time] ** 0.5 * x.numpy() + (1 - kept[time]) ** 0.5 * noise)).max() < 1e-5
    for time in (-1, float("nan")):
        with pytest.raises(ExtractionError, match="Timesteps are numbers of at least 0"):
            noised(x, range(75), time)


def test_prompts_and_flow_matching(tmp_path):
    """Each sample with a prompt of its own, a pooled prompt that all share, and a scheduler of a flow."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=12, caption_projection_dim=16, pooled_projection_dim=6, out_channels=4,
        pos_embed_max_size=8,
    ).eval()  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000)
    pooled = torch.randn(6)
    samples = [{"x": torch.randn(4, 8, 8), "encoder_hidden_states": torch.randn(5, 12)} for _ in IDS[:6]]

    def run(batch_size, pooled, times):
        # its blocks give (prompt, picture), and the last one (None, picture)
        return extract_module(
            tmp_path / "a.zarr", model, samples, layers=["transformer_blocks.*"], batch_size=batch_size, quiet=True,
            pool=lambda output: output[1].mean(dim=1), spec={"model": "tiny", "pool": "mean of the picture"},
            inputs=Noised(scheduler, condition={"pooled_projections": pooled}), timesteps=times,
        )  # fmt: skip

    store = run(6, pooled, scheduler.timesteps[::500])
    assert [layer.name for layer in store.layers] == [
        f"transformer_blocks.{i}@{t}" for t in (1000, 500) for i in (0, 1)
    ]
    noise = torch.stack(
        [torch.from_numpy(np.random.default_rng([0, i]).standard_normal((4, 8, 8), np.float32)) for i in range(6)]
    )
    clean, prompts = (torch.stack([sample[key] for sample in samples]) for key in samples[0])
    for i, time in enumerate((1000, 500)):
        found = []
        handles = [
            block.register_forward_hook(lambda m, a, o, found=found: found.append(o[1]))
            for block in model.transformer_blocks
        ]
        with torch.inference_mode():
            model(
                time / 1000 * noise + (1 - time / 1000) * clean,
                prompts,
                pooled.expand(6, 6),
                torch.full((6,), float(time)),
            )
        for handle in handles:
            handle.remove()
        for j, state in enumerate(found):
            assert np.array_equal(store.read_layer(2 * i + j), state.mean(dim=1).numpy())
    with pytest.raises(StoreError, match="holds features with inputs"):  # another prompt is another store
        run(6, pooled + 1, [1000.0, 500.0])
    with pytest.raises(ExtractionError, match=r"FlowMatchEulerDiscreteScheduler has no timestep 0\.5"):
        run(6, pooled, [0.5])


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


def test_every_family_of_torchvision_has_its_stages():
    from torchvision import models

    for name, first, count in (
        ("mnasnet0_5", "layers.0", 17),
        ("shufflenet_v2_x0_5", "stage2", 3),
        ("googlenet", "inception3a", 9),
        ("inception_v3", "Mixed_5b", 11),
        ("vit_b_16", "encoder.layers.encoder_layer_0", 12),
    ):
        with torch.device("meta"):
            model = models.get_model(name, weights=None)
        adapted = _adapted(model, None)
        assert adapted.pool == "mean" and named_layers(model, adapted.layers)[0] == first
        assert len(named_layers(model, adapted.layers)) == count
    swin = models.SwinTransformer([2, 2], 8, [1, 1], [1, 1], [2, 2]).eval()
    output = swin.features(torch.rand(1, 3, 8, 16))
    assert output.shape == (1, 2, 4, 8) or output.shape[-1] > output.shape[1]  # channels come last
    assert _adapted(swin, None).pool == "mean_channels_last"


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
