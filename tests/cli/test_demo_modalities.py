"""One command from generated data to a report over four modalities."""

import io
import wave

import numpy as np
import pytest

from prh_jax import load_alignment
from prh_jax.cli import demo_features, demo_modalities
from prh_jax.cli.main import main

pytest.importorskip("espeakng_loader")
pytest.importorskip("soundfile")
pytest.importorskip("torch")


def test_four_modalities_and_one_report(tmp_path, monkeypatch, capsys):
    from extractors.datasets.clips import FrameRule
    from extractors.datasets.loading import load

    monkeypatch.setattr(demo_modalities, "SAMPLES", 48)
    monkeypatch.setattr(demo_modalities, "ORDERS", 20)
    monkeypatch.setattr(demo_features, "LITE", {})  # classical features alone: networks take a minute
    assert main(["demo", "--modalities", "--output-dir", str(tmp_path)]) == 0
    told, result = capsys.readouterr().out, load_alignment(tmp_path / "alignment.zarr")
    modalities = [record.assigned["family"] for record in result.provenance.models_x]
    assert set(modalities) == {"language", "vision", "video", "audio"} and result.provenance.n == 48
    scores = result.scores("mutual_knn").values
    of = {m: [i for i, modality in enumerate(modalities) if modality == m] for m in modalities}
    assert (
        f"{scores[of['language'][0], of['audio'][0]]:.3f}" in told and (tmp_path / "report.html").stat().st_size > 1e5
    )
    # clips are of the pictures: HOG of one finds HOG of the other before anything else
    names = [record.spec["model"] for record in result.provenance.models_x]
    hog, clips = names.index("hog"), names.index("hog-clips")
    assert np.nanargmax(np.where(np.arange(len(names)) == hog, np.nan, scores[hog])) == clips
    # the last frame of a clip is the picture, the first its upper left; every name is spoken
    data = load(str(tmp_path / "modalities.parquet"))
    frames = data.frames(0, FrameRule(8))
    whole = np.asarray(data.image(0).resize((64, 64), 2), int)
    assert np.abs(np.asarray(frames[-1], int) - whole).mean() < 1 and len(frames) == 8
    with wave.open(io.BytesIO(data.media["audio"][0]["bytes"])) as spoken:
        assert spoken.getframerate() == 22050 and 0.3 < spoken.getnframes() / 22050 < 3
    assert len({len(data.sound(row)[0]) for row in range(48)}) > 20
