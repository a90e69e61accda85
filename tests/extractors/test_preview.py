"""What was read is shown: by `prh extract --dry-run` before a model runs, and by `prh inspect` afterwards."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from samples import png, write_parquet

from extractors.datasets.loading import load
from extractors.datasets.pictures import kind_of
from prh_jax.cli.main import main
from prh_jax.stores.preview import preview_lines

RED = Image.new("RGB", (4, 4), (255, 0, 0))


def encoded(image, kind, **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.new("RGB", (8, 4)), "JPEG", exif=exif)


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        (encoded(Image.new("RGB", (4, 4)), "PNG"), "PNG RGB"),
        (encoded(Image.new("RGBA", (4, 4)), "PNG"), "PNG RGBA, on white"),
        (encoded(Image.fromarray(np.full((4, 4), 9, np.uint16)), "PNG"), "PNG I;16, high byte"),
        (turned(), "JPEG RGB, turned upright"),
        (encoded(Image.new("RGB", (4, 4)), "GIF", save_all=True, append_images=[RED]), "GIF P, first frame"),
        (b"no picture", "unreadable"),
        (None, "missing"),
    ],
)
def test_kinds_of_pictures(stored, kind):
    assert kind_of(stored) == kind


def test_a_dry_run_shows_what_is_read_and_makes_nothing(tmp_path, checkpoint, capsys):
    pictures = [png(Image.new("RGB", (20, 10), (200, 0, 0))), turned(), b"broken", png(Image.new("RGB", (6, 6)))]
    path = write_parquet(tmp_path / "t.parquet", n=4, image=pictures, text=["a dog", "owl", "cat", "the last"])
    argv = ["extract", "--dataset", path, "--output-dir", str(tmp_path / "out"), "--dry-run", "--model"]
    assert main([*argv, "pixels_32", checkpoint("bert"), "--on-error", "skip"]) == 0
    out = capsys.readouterr().out
    vision, language = out.split("language\n")
    for line in ("samples    3, 1 broken ones left out", "2 PNG RGB", "1 JPEG RGB, turned upright"):
        assert line in vision
    assert "first      's0', 20 x 10 pixels" in vision and "last       's3', 6 x 6 pixels" in vision
    assert "samples    4\n" in language and "one for each sample, 3 to 8 characters (median 4)" in language
    assert "'a dog'" in language and "'the last'" in language and out.count("to be made at") == 2
    assert not (tmp_path / "out").exists()
    assert main([*argv, str(tmp_path / "none")]) == 2
    assert "refused\n  " in capsys.readouterr().out


def test_inspect_shows_what_a_store_was_made_of(tmp_path, capsys):
    path = write_parquet(tmp_path / "t.parquet", n=3, image=[png(Image.new("RGB", (20, 10), (200, 0, 0)))] * 3)
    assert main(["extract", "--dataset", path, "--model", "pixels_32", "--output-dir", str(tmp_path / "out")]) == 0
    assert main(["inspect", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "pictures   3 PNG RGB\n" in out and "first      's0', 20 x 10 pixels\n" in out and "\x1b" not in out
    (store,) = (tmp_path / "out").rglob("*.zarr")
    kept = json.loads((store / "zarr.json").read_text())["attributes"]["env"]["data"]
    drawn = "\n".join(preview_lines(kept, color=True))
    assert drawn.count("\x1b[38;2;200;0;0m\x1b[48;2;200;0;0m▀") == 2 * 16 * 8


def test_a_record_of_others_cannot_command_a_terminal():
    clear = "\x1b[2J"
    hostile = {"samples": clear, "skipped": clear, "pictures": {clear: clear, "a": None}, "texts": "x" * 10**6}
    hostile |= {"first": {"id": clear, "text": 5, "thumbnail": 5}, "last": {"id": ["x"] * 10**5, "text": [1]}}
    for record in (hostile, hostile | {"pictures": 5, "first": 7, "last": {"size": True}}):
        lines = preview_lines(record, color=True)
        assert "\x1b" not in "".join(lines) and max(map(len, lines)) < 250 and len(lines) < 30
    assert load("emoji_1024", num_samples=4).kinds == {"image": {"PNG P": 4}}
