"""Ray and Dask hand out shares of a study, as the documentation shows it; skipped where they are not installed."""

import numpy as np
import pytest

import prh_jax

N, COUNT = 48, 3


@pytest.fixture
def stores(tmp_path):
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(N, 6))
    return [
        str(
            prh_jax.write_features(
                tmp_path / f"model{m}.zarr",
                [(latent @ rng.normal(size=(6, 12)) + rng.normal(size=(N, 12))).astype("f4") for _ in range(3)],
                ids=[f"s{i}" for i in range(N)],
                spec={"model": f"model{m}"},
            ).path
        )
        for m in range(2)
    ]


def make_share():
    """A function that is sent by value: the workers cannot import this file."""

    def share(index, count, stores, output):
        import prh_jax

        return prh_jax.align_share(index, count, stores, output=output, metrics=["mutual_knn", "cka"], progress=False)

    return share


def check(stores, output):
    found, whole = prh_jax.finish_alignment(output), prh_jax.align(stores, metrics=["mutual_knn", "cka"])
    for name in ("mutual_knn", "cka"):
        np.testing.assert_array_equal(found.dataset[name], whole.dataset[name])


def test_dask(stores, tmp_path):
    distributed = pytest.importorskip("dask.distributed")
    output = str(tmp_path / "shared.zarr")
    with distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        work = client.map(make_share(), range(COUNT), count=COUNT, stores=stores, output=output, pure=False)
        assert any(client.gather(work))  # the last to end finds the study complete
    check(stores, output)


def test_ray(stores, tmp_path):
    ray = pytest.importorskip("ray")
    pytest.importorskip("skimage")

    class Extractor:
        def __init__(self, folder):
            from extractors.datasets.loading import load

            self.data, self.folder = load("emoji_1024", num_samples=16), folder

        def extract(self, model):
            from extractors.pipeline.run import Settings, extract

            outcome = extract([model], self.data, Settings(output_dir=self.folder))[model]
            if isinstance(outcome, Exception):
                raise outcome
            return str(outcome)

    output = str(tmp_path / "shared.zarr")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        models = ["hog", "color_histogram"]
        actors = ray.util.ActorPool([ray.remote(Extractor).remote(str(tmp_path / "features")) for _ in models])
        made = list(actors.map(lambda actor, model: actor.extract.remote(model), models))
        assert [prh_jax.inspect_store(path).store.n for path in made] == [16, 16]
        task = ray.remote(make_share())
        assert any(ray.get([task.remote(index, COUNT, stores, output) for index in range(COUNT)]))
    finally:
        ray.shutdown()
    check(stores, output)
