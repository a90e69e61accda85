"""Data sets from every source; broken samples named before any work."""

import json

import numpy as np
import pytest
from PIL import Image
from samples import png, write_parquet

from extractors.datasets.loading import as_rgb, load
from extractors.errors import ExtractionError
from extractors.models import classical
from prh_jax.errors import StoreError


def test_the_built_in_set(emoji):
    assert len(emoji) == 1024 == len(set(emoji.ids)) and emoji.ids[0] == "1f372"
    assert emoji.captions()[0].startswith("pot of food") and emoji.captions(2)[0] == "Topf mit Essen"
    assert all(len(texts) == 11 for texts in emoji.texts)
    image = emoji.image(0)
    assert image.mode == "RGB" and image.size == (72, 72)


def test_parquet_file_and_folder_agree(tmp_path):
    path = write_parquet(tmp_path / "data.parquet")
    one, two = load(path), load(str(tmp_path))
    assert one.ids == two.ids == [f"s{i}" for i in range(12)]
    assert one.content_sha256 == two.content_sha256
    assert load(path, num_samples=5).ids == one.ids[:5]
    assert load(path, num_samples=5).content_sha256 != one.content_sha256


def test_the_content_hash_sees_ids_texts_and_pictures(tmp_path):
    base = load(write_parquet(tmp_path / "a.parquet")).content_sha256
    assert load(write_parquet(tmp_path / "b.parquet")).content_sha256 == base
    changed = [
        {"id": [f"t{i}" for i in range(12)]},
        {"text": [[f"text {i}", "x"] for i in range(12)]},
        {"image": [{"bytes": png(Image.new("RGB", (4, 4), (i, 0, 0))), "path": None} for i in range(12)]},
    ]
    assert base not in [load(write_parquet(tmp_path / "c.parquet", **c)).content_sha256 for c in changed]


def test_a_folder_of_images_with_captions(tmp_path, capsys):
    for i in range(3):
        Image.new("RGB", (6, 6), (i, 100, 0)).save(tmp_path / f"{i}.png")
    lines = [json.dumps({"file_name": f"{i}.png", "text": f"picture {i}"}) for i in range(3)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    data = load(str(tmp_path))
    assert data.captions() == ["picture 0", "picture 1", "picture 2"] and data.ids == ["0.png", "1.png", "2.png"]
    assert data.image(2).getpixel((0, 0)) == (2, 100, 0)
    assert capsys.readouterr().err == ""  # bars are for terminals


def test_transparency_is_composited_on_white():
    image = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    image.putpixel((1, 0), (200, 0, 0, 255))
    rgb = as_rgb(image)
    assert rgb.getpixel((0, 0)) == (255, 255, 255) and rgb.getpixel((1, 0)) == (200, 0, 0)
    for mode in ("L", "1", "P", "CMYK", "I;16"):
        assert as_rgb(Image.new(mode, (2, 2))).mode == "RGB"
    palette = Image.new("P", (1, 1))
    palette.info["transparency"] = 0
    assert as_rgb(palette).getpixel((0, 0)) == (255, 255, 255)


def test_broken_samples_are_named(tmp_path):
    texts = [["a"]] * 12
    empty = load(write_parquet(tmp_path / "a.parquet", text=[*texts[:4], [" "], *texts[5:]]))
    with pytest.raises(ExtractionError, match="Caption 0 of 1 samples .* empty: 's4'"):
        empty.captions()
    with pytest.raises(ExtractionError, match="12 samples .* no caption 3"):
        empty.captions(3)
    good = png(Image.new("RGB", (64, 64)))
    pictures = [{"bytes": good, "path": None}] * 11
    for bad in (good[:60], b"no picture", None):
        data = load(write_parquet(tmp_path / "b.parquet", image=[*pictures, {"bytes": bad, "path": None}]))
        with pytest.raises(ExtractionError, match="picture of sample 's11'"):
            data.image(11)
        assert data.image(0).size == (64, 64)
    with pytest.raises(StoreError, match="'x' occurs twice"):
        load(write_parquet(tmp_path / "c.parquet", id=["x"] * 12))
    with pytest.raises(
        ExtractionError, match="neither a column `image` nor `text`, nor `audio` or `video`. Name yours"
    ):
        load(write_parquet(tmp_path / "d.parquet", image=None, text=None))
    (tmp_path / "e.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ExtractionError, match="cannot be read as parquet"):
        load(str(tmp_path / "e.parquet"))


def test_a_decompression_bomb_is_an_error(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "a.parquet", image=[{"bytes": png(Image.new("RGB", (64, 64))), "path": None}] * 12)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    with pytest.raises(ExtractionError, match="decompression bomb"):
        load(path).image(0)


def test_missing_modalities(tmp_path):
    with pytest.raises(ExtractionError, match="no pictures"):
        load(write_parquet(tmp_path / "a.parquet", image=None)).image(0)
    with pytest.raises(ExtractionError, match="no texts"):
        load(write_parquet(tmp_path / "b.parquet", text=None)).captions()


def test_classical_features(emoji):
    image = Image.new("RGB", (10, 10), (255, 0, 64))
    histogram = classical.color_histogram(image)
    assert histogram.shape == (512,) and histogram[7 * 64 + 0 * 8 + 2] == 1 and histogram.sum() == 1
    two = Image.new("RGB", (10, 10), (0, 0, 0))
    two.paste((255, 255, 255), (0, 0, 10, 5))
    half = classical.color_histogram(two)
    np.testing.assert_allclose(half[[0, 511]] ** 2, 0.5, rtol=1e-6)
    np.testing.assert_allclose(classical.pixels_32(image).reshape(32, 32, 3)[5, 7], [1, 0, 64 / 255], rtol=1e-6)
    for name, feature in classical.CLASSICAL.items():
        sample = (np.ones(9000, np.float32), 48000) if feature.modality == "audio" else emoji.image(3)
        values = feature.function(sample)
        assert values.shape == (feature.width,) and values.dtype == np.float32, name
    # a tone of 1 kHz that begins after half the time: energy in the bands around it, in the last four parts
    time = np.arange(16000) / 16000
    tone = np.sin(2 * np.pi * 1000 * time) * (time >= 0.5)
    loud = classical.mel_spectrogram((tone.astype(np.float32), 16000)).reshape(8, 64)
    edges = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66)[1:-1]
    assert (loud[5:].argmax(axis=1) == loud[7].argmax()).all() and (loud[:3] < loud[5:].max() - 10).all()
    assert abs(700 * (10 ** (edges[loud[7].argmax()] / 2595) - 1) - 1000) < 120
    vertical = np.zeros((72, 72, 3), np.uint8)
    vertical[:, 36:] = 255
    cells = classical.hog(Image.fromarray(vertical)).reshape(9, 9, 9)
    assert (cells[:, 4].argmax(-1) == 0).all() and cells[:, 0].max() == 0  # one edge: its gradient is horizontal
