"""Loaders, models and targets of `extract_module` that would give features of something else, and are refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from extractors import Noised, Target, extract_module, extract_modules
from extractors.errors import ExtractionError
from prh_jax.errors import MismatchError

N = 300
IDS = [f"s{i}" for i in range(N)]
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))


def net(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4))


def run(path, model, loader, **more):
    arguments = {"layers": ["?"], "pool": "none", "ids": IDS, "spec": {"model": "net"}, "quiet": True}
    return extract_module(path, model, loader, **{**arguments, **more})


def batches(size=32):
    return list(X.split(size))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_run_goes_on_with_its_own_model_alone(dtype, tmp_path):
    def stopped():
        yield from batches()[:9]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.zarr", net(0), stopped(), dtype=dtype)
    for model, loader in ((net(1), batches()), (net(0), [2 * x for x in batches()])):
        with pytest.raises(MismatchError, match=r"other features of sample 's0'.*layer '0' differs by .*need a seed"):
            run(tmp_path / "a.zarr", model, loader, dtype=dtype)
    store = run(tmp_path / "a.zarr", net(0), batches(50), dtype=dtype)  # batches of another size are the same features
    expected = net(0)(X).detach().numpy()
    assert np.abs(store.read_layer(2).astype(np.float32) - expected).max() < {"float32": 1e-6}.get(dtype, 0.01)
    with pytest.raises(MismatchError, match="other features"):  # also of a store that is complete
        run(tmp_path / "a.zarr", net(1), batches(), dtype=dtype)
    assert run(tmp_path / "a.zarr", net(1), batches(), dtype=dtype, overwrite=True).complete


class Random(torch.utils.data.Dataset):
    """Samples of which half are mirrored, by chance."""

    def __len__(self):
        return N

    def __getitem__(self, row):
        return X[row].flip(0) if torch.rand(()) < 0.5 else X[row]


def test_loaders_that_give_other_samples_are_refused_before_work_starts(tmp_path):
    def fails(message, loader, model=None, **more):
        ran = []
        model = model or net()
        handle = model.register_forward_hook(lambda *_: ran.append(1))
        with pytest.raises(ExtractionError, match=message):
            run(tmp_path / "a.zarr", model, loader, **more)
        handle.remove()
        assert not ran and not (tmp_path / "a.zarr").exists()

    torch.manual_seed(0)
    fails("is another when it is read again", DataLoader(Random(), batch_size=32))
    fails("is another when it is read again", X, batch_size=32, transform=lambda x: x + torch.randn(6))
    fails("288 samples, but there are 300 ids: drop_last", DataLoader(TensorDataset(X), batch_size=32, drop_last=True))
    fails("more samples than the 300 ids", DataLoader(TensorDataset(torch.cat([X, X])), batch_size=32))
    fails("gives 299 samples, but there are 300 ids", X[:299], batch_size=32)
    fails("gives 288 samples, but there are 300 ids", batches()[:9])
    fails("Batches come from a list, a DataLoader or a generator, and int is none", 7)
    fails("batch_size must be a whole number", X, batch_size=2.5)
    fails(r"parts input, label.*unexpected keyword argument 'label'", [{"input": X, "label": X}])
    with pytest.raises(ExtractionError, match="The model is a function, and layers are those of a torch module"):
        run(tmp_path / "a.zarr", lambda x: x, batches())


def test_a_collate_function_may_make_several_samples_of_one(tmp_path):
    loader = DataLoader(
        TensorDataset(X.reshape(150, 2, 6)), batch_size=16, collate_fn=lambda s: torch.cat([x for (x,) in s])
    )
    store = run(tmp_path / "a.zarr", net(), loader)
    assert np.abs(store.read_layer(2) - net()(X).detach().numpy()).max() < 1e-6


class Adds(torch.nn.Module):
    """Changes its input in place."""

    def __init__(self):
        super().__init__()
        self.out = torch.nn.Identity()

    def forward(self, x):
        return self.out(x.add_(1))


def test_each_model_and_timestep_reads_the_batch_as_it_was(tmp_path):
    targets = [Target(tmp_path / f"{i}.zarr", Adds(), ["out"], "none", {"model": f"m{i}"}) for i in range(2)]
    given = batches()
    stores = extract_modules(targets, given, ids=IDS, quiet=True)
    stores.append(
        run(tmp_path / "t.zarr", Adds(), given, layers=["out"], timesteps=[1, 2], inputs=lambda b, rows, t: b)
    )
    for store in stores:
        for i in range(len(store.layers)):
            assert np.array_equal(store.read_layer(i), X.numpy() + 1)
    assert torch.equal(torch.cat(given), X)
    with pytest.raises(ExtractionError, match=r"Several targets write to .*0\.zarr"):
        extract_modules([targets[0], targets[0]], given, ids=IDS, quiet=True)


def fails(path, words, model, loader, **more):
    with pytest.raises(ExtractionError, match=words):
        run(path / "fails.zarr", model, loader, **more)
    assert not (path / "fails.zarr").exists()


def test_samples_that_make_no_batch_are_told_to_be_transformed(tmp_path):
    pictures = [Image.new("RGB", (4, 4))] * N
    fails(tmp_path, "such as Image make no batch.*give transform=.*such as preprocess ", net(), pictures, batch_size=8)
    labelled = [(picture, 1) for picture in pictures]
    words = r"such as \(Image, int\) make no batch.*lambda sample: preprocess\(sample\[0\]\)"
    fails(tmp_path, words, net(), labelled, batch_size=8)
    ragged = [torch.zeros(6), *torch.zeros(N - 1, 5)]
    fails(tmp_path, r"Tensor of shape \(6,\) make no batch.*tensors of one shape", net(), ragged, batch_size=8)
    pairs = TensorDataset(X, torch.zeros(N))
    words = r"have 2 parts.*transform=lambda sample: sample\[0\].*loader of inputs alone"
    fails(tmp_path, words, net(), pairs, batch_size=8)
    store = run(tmp_path / "a.zarr", net(), pairs, batch_size=np.int64(8), transform=lambda sample: sample[0])
    np.testing.assert_allclose(store.read_layer(2), net()(X).detach().numpy(), atol=1e-6)


def test_inputs_of_another_kind_than_the_model_takes_are_told(tmp_path):
    arrays = [x.numpy() for x in batches()]
    fails(tmp_path, r"hold numpy arrays, and modules take tensors: give torch.from_numpy", net(), arrays)
    words = (
        r"parameters of the model are torch.bfloat16, and its inputs torch.float32: give .*batch.to\(torch.bfloat16\)"
    )
    fails(tmp_path, words, net().bfloat16(), batches())
    with pytest.raises(RuntimeError, match="cannot be multiplied"):  # any other failure is the model's own
        run(tmp_path / "b.zarr", net(), [x[:, :5] for x in batches()])


class Scheduler:
    """Noise that is left out: features are those of the samples."""

    def add_noise(self, samples, noise, timesteps):
        return samples


class Conditioned(torch.nn.Module):
    """The sum of a sample with its own condition, the mean over tokens."""

    def __init__(self):
        super().__init__()
        self.out = torch.nn.Identity()

    def forward(self, sample, timestep, context):
        samples, tokens, _ = context.shape
        return self.out(sample + context.sum(dim=1)[:samples] / tokens)


def test_conditions_are_arrays_of_one_sample(tmp_path):
    context = np.random.default_rng(0).normal(size=(5, 6))
    more = {"layers": ["out"], "timesteps": [3]}
    given = {**more, "inputs": Noised(Scheduler(), condition={"context": context})}
    store = run(tmp_path / "a.zarr", Conditioned(), batches(), **given)
    np.testing.assert_allclose(store.read_layer(0), X.numpy() + context.mean(axis=0), atol=1e-6)
    for whole in (context[None], torch.from_numpy(context[None]).float()):
        words = r"The condition 'context' has the shape \(1, 5, 6\).* has the shape of one sample: \(5, 6\)"
        inputs = Noised(Scheduler(), condition={"context": whole})
        fails(tmp_path, words, Conditioned(), batches(), **more, inputs=inputs)
    with pytest.raises(ExtractionError, match="a number, a tensor or an array, and 'context' is list"):
        Noised(Scheduler(), condition={"context": [1.0]})
