"""Nothing is written where no file or folder belongs, and nothing that is there is lost by trying."""

import os
import socket
import stat
from pathlib import Path

import numpy as np
import pytest
from inputs import make_store
from made_results import made_result

from prh_jax.cli.main import main
from prh_jax.errors import StoreError
from prh_jax.stores.archive import pack
from prh_jax.stores.target import check_target, file_target

RESULT = made_result({"a": 2}, {"b": 2})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_store("s.zarr", "s", (6, 6))
    RESULT.save("r.zarr")
    np.save("f.npy", np.zeros((8, 3), np.float32))
    pack("s.zarr", "packed.zip")
    return tmp_path


def everything(folder):
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


WRITERS = {
    "align": "align --x s.zarr --metric mutual_knn -o {} --force-remake",
    "sketches": "align --x s.zarr --metric mutual_knn -o q.zarr --sketch-cache {}",
    "figure": "align --x s.zarr --metric mutual_knn -o q.zarr --plot {}",
    "report": "report r.zarr --no-gallery -o {} --force-remake",
    "merge": "merge r.zarr -o {} --force-remake",
    "pack": "pack s.zarr -o {} --force-remake",
    "unpack": "unpack packed.zip -o {} --force-remake",
    "import": "import f.npy --model m --modality vision --ids rows -o {} --force-remake",
    "extract": "extract --dataset emoji_1024 --model hog --output-dir {} --force-remake",
    "demo": "demo --quick --output-dir {}",
}


@pytest.mark.parametrize("writer", [*WRITERS, "export"])
def test_every_writer_asks_first(writer, folder, capsys):
    os.mkfifo("pipe")
    os.mkfifo("pipe.csv")
    command = WRITERS.get(writer, "export r.zarr -o {}.csv --force-remake")
    before = everything(folder)
    within = "s.zarr/x" if writer in ("report", "pack", "export", "demo", "extract") else "r.zarr/x"
    for path, words in (("pipe", "pipe"), (within, "inside the feature store or result"), ("f.npy/x", "not a folder")):
        assert main(command.format(path).split()) == 2
        told = capsys.readouterr().err
        assert words in told and told.count("\n") == 1, told
    assert everything(folder) == before and stat.S_ISFIFO(os.stat("pipe").st_mode)


def test_places_where_nothing_is_written(folder):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        Path("link").symlink_to("socket")
        Path("loop").symlink_to("loop")
        for path, words in (
            ("", "without a name"),
            (".", "without a name"),
            ("/", "without a name"),
            ("s.zarr/..", "without a name"),
            ("a\0b", "NUL"),
            ("socket", "a socket"),
            ("link", "a socket"),
            ("loop", "symbolic link"),
            ("loop/x", "loop"),
            ("/dev/null", "a device"),
            ("/dev/x.html", "operating system"),
            ("/dev/fd/x.html", "operating system"),
            ("/proc/self/x", "operating system"),
            ("s.zarr/features/c/x.zarr", "inside the feature store or result .*s.zarr"),
        ):
            with pytest.raises(StoreError, match=words):
                check_target(Path(path))
    os.mkfifo("zarr.json")  # asked for a schema, nobody would answer
    for path in ("new.html", "f.npy", "deep/er/new.zarr", "s.zarr"):
        check_target(Path(path))


def test_a_file_is_not_written_over_a_folder(folder):
    Path("empty").mkdir()
    Path("linked").symlink_to("f.npy")
    for path, words in (("s.zarr", "is a feature store or result"), ("r.zarr", "store or result"), ("empty", "folder")):
        with pytest.raises(StoreError, match=words):
            file_target(path, overwrite=True)
    for path in ("f.npy", "linked"):
        with pytest.raises(StoreError, match="already exists.*--force-remake"):
            file_target(path, overwrite=False)
        assert file_target(path, overwrite=True) == Path(path)


def test_figures_and_arrays_come_whole(folder, monkeypatch):
    pytest.importorskip("matplotlib")
    from prh_jax.plot import heat_map
    from prh_jax.plot.base import write_figure

    drawn = write_figure(heat_map(RESULT.scores("cka")), "figure")
    assert drawn == Path("figure.png") and drawn.read_bytes().startswith(b"\x89PNG")
    assert write_figure(heat_map(RESULT.scores("cka")), "new/map.svg").read_bytes().startswith(b"<?xml")
    assert RESULT.save_npy("new/scores", "cka") == Path("new/scores.npy")

    def full(file, contents):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    before = everything(folder)
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StoreError, match="disk is full"):
        RESULT.save_npy("new/scores.npy", "cka")
    assert everything(folder) == before
