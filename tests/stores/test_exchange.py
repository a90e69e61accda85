"""Stores from elsewhere: archives, remote ones, and those of partly other samples."""

import functools
import http.server
import json
import re
import stat
import threading
import unicodedata
import zipfile

import fsspec
import numpy as np
import pytest
from jaxtyping import TypeCheckError

import prh_jax
from prh_jax.cli.main import main
from prh_jax.errors import CorruptError, ExistsError, StoreError
from prh_jax.stores.archive import pack, unpack
from prh_jax.stores.paired import pair_stores
from prh_jax.stores.writer import FeatureWriter

N, IDS = 600, [f"s{i}" for i in range(600)]


def make(path, ids=IDS, widths=(12, 12), seed=0):
    rng = np.random.default_rng(seed)
    rows = {key: [rng.normal(size=d) for d in widths] for key in IDS}
    layers = [np.array([rows[key][i] for key in ids], np.float32) for i in range(len(widths))]
    return prh_jax.write_features(path, layers, spec={"model": str(path.name), "pool": "mean"}, ids=ids)


def contents(path):
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def test_packed_and_unpacked_to_the_same_bits(tmp_path):
    store = make(tmp_path / "a.zarr", widths=(12, 8))
    archive = pack(store.path)
    assert archive == tmp_path / "a.zarr.zip"
    again = unpack(archive, tmp_path / "b" / "again.zarr")
    assert contents(again) == contents(store.path)
    other = pack(make(tmp_path / "c" / "a.zarr", widths=(12, 8)).path)
    assert other.read_bytes() == archive.read_bytes()
    packed = prh_jax.open_store(archive)
    assert packed.checksum() == store.checksum() and packed.ids == IDS
    np.testing.assert_array_equal(packed.read_layer(1), store.read_layer(1))
    assert prh_jax.inspect_store(archive).intact
    for call, path in ((pack, store.path), (unpack, archive)):
        with pytest.raises(ExistsError, match="overwrite it with --force-remake"):
            call(path)
        assert call(path, overwrite=True).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "a.zarr.zip", "b", "c"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_archive_is_an_error(tmp_path, share):
    archive = pack(make(tmp_path / "a.zarr").path)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(share * len(data))])
    with pytest.raises(StoreError, match="cannot be unpacked.*Nothing was written"):
        unpack(archive, tmp_path / "b.zarr")
    with pytest.raises(StoreError, match="not a feature store"):
        prh_jax.open_store(archive)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "a.zarr.zip"]


def test_damaged_and_foreign_archives_are_errors(tmp_path):
    store = make(tmp_path / "a.zarr")
    archive = pack(store.path)
    data = bytearray(archive.read_bytes())
    data[data.index(store.read_layer(0)[5].tobytes())] ^= 1
    archive.write_bytes(data)
    with pytest.raises(StoreError, match="cannot be unpacked.*CRC"):
        unpack(archive, tmp_path / "b.zarr")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("thesis.tex", "x")
    with pytest.raises(StoreError, match="cannot be unpacked.*not a feature store"):
        unpack(tmp_path / "other.zip")
    with pytest.raises(StoreError, match="no archive at"):
        unpack(tmp_path / "absent.zip")
    chunk = next(p for p in (store.path / "features" / "c").rglob("*") if p.is_file())
    chunk.write_bytes(bytes([chunk.read_bytes()[0] ^ 1]) + chunk.read_bytes()[1:])
    with pytest.raises(StoreError, match="not packed, as it is corrupt"):
        pack(store.path, tmp_path / "c.zip")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "a.zarr.zip", "other.zip"]


def repacked(archive, *extra, edit=None, **settings):
    """The archive with other members beside its own, and its own as `edit(name, data)` has them."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(archive.with_name("new.zip"), "w", **settings) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data if edit is None else edit(name, data))
        for name, data, mode in extra:
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, new.compression
            new.writestr(info, data)
    return archive.with_name("new.zip")


def test_what_is_no_part_of_a_store_is_not_unpacked(tmp_path):
    store = make(tmp_path / "a.zarr")
    (store.path / "notes.txt").write_text("mine")
    archive = pack(store.path)
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
    assert "notes.txt" not in names and len(names) == len(contents(store.path)) - 1
    record = json.loads((store.path / "features" / "zarr.json").read_text())
    for name in (
        "foo.exe",
        "/etc/passwd",
        "../outside",
        "features/../../outside",
        "features/c/2/0/0",
        "features/c/0/03/0",
        "features/c/0/0",
        "features/c/0/0/0/0",
        "features/c/0/0/-1",
        "features\\c\\0",
        "sample/x.exe",
        "./done/c/9",
        "empty/",
    ):
        with pytest.raises(CorruptError, match=f"{re.escape(repr(name))} is no part of a feature store.*Nothing"):
            unpack(repacked(archive, (name, "x", 0o644)), tmp_path / "b.zarr")
    wide = json.dumps(record | {"shape": [1, 10**9, 10**9]})
    with pytest.raises(CorruptError, match=r"'wide/zarr.json' is no part of a feature store"):
        unpack(repacked(archive, ("wide/zarr.json", wide, 0o644)), tmp_path / "b.zarr")
    last = "features/c/1/2/0"
    for mode, words in ((stat.S_IFLNK, "no regular file"), (stat.S_IFCHR, "no regular file"), (0o644, "there twice")):
        with pytest.warns(UserWarning, match="Duplicate"):
            twice = repacked(archive, (last, "/etc/passwd", mode))
        with pytest.raises(CorruptError, match=f"'{last}' is {words}"):
            unpack(twice, tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists() and not list(tmp_path.glob(".*"))


def test_a_bomb_is_not_unpacked(tmp_path):
    """Chunks of 256 rows of 12 float32 have 12,288 bytes and a checksum; ids 1 KiB each where they are compressed."""
    archive = pack(make(tmp_path / "a.zarr").path)
    for bomb, size in (("features/c/0/0/0", 13_000), ("sample/c/0", 700_000), ("layer/zarr.json", (1 << 26) + 1)):

        def larger(name, data, bomb=bomb, size=size):
            return data.ljust(size, b" ") if name == bomb else data

        path = repacked(archive, edit=larger, compression=zipfile.ZIP_DEFLATED)
        with pytest.raises(CorruptError, match=f"'{bomb}' (has {size} bytes|is larger)"):
            unpack(path, tmp_path / "b.zarr")
        lies = bytearray(path.read_bytes())  # its table of contents says that the member is small
        at = lies.rindex(bomb.encode()) - 46
        lies[at + 24 : at + 28] = (100).to_bytes(4, "little")
        path.write_bytes(lies)
        with pytest.raises(CorruptError, match="cannot be unpacked"):
            unpack(path, tmp_path / "b.zarr")
    assert not (tmp_path / "b.zarr").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("outer", ["", "a.zarr/"])
def test_an_archive_of_another_program_is_unpacked(tmp_path, outer):
    """Compressed, with folders among its members and around them, and with modes that a store's files do not get."""
    store = make(tmp_path / "a.zarr", widths=(12, 8))
    others = [("features_12/", "", 0o40777), ("features_12/c/0/", "", 0o40777)]
    if outer:
        others += [("", "", 0o40777), (".DS_Store", "x", 0o104777), ("../__MACOSX/a.zarr/._zarr.json", "x", 0o104777)]

    with zipfile.ZipFile(tmp_path / "new.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data, mode in (*others, *((name, data, 0o104777) for name, data in contents(store.path).items())):
            info = zipfile.ZipInfo(name[3:] if name.startswith("../") else outer + name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            packed.writestr(info, data)
    opened = prh_jax.open_store(tmp_path / "new.zip")
    assert opened.checksum() == store.checksum() and prh_jax.inspect_store(tmp_path / "new.zip").intact
    np.testing.assert_array_equal(opened.read_layer(1), store.read_layer(1))
    again = unpack(tmp_path / "new.zip", tmp_path / "b.zarr")
    assert contents(again) == contents(store.path)
    assert not any(path.stat().st_mode & 0o7111 for path in again.rglob("*") if path.is_file())


def test_stores_in_a_file_system_of_fsspec(tmp_path, capsys):
    store = make(tmp_path / "a.zarr")
    fsspec.filesystem("memory").put(str(store.path), "/there/a.zarr", recursive=True)
    remote = prh_jax.open_store("memory://there/a.zarr")
    assert remote.ids == IDS and remote.checksum() == store.checksum()
    np.testing.assert_array_equal(remote.read_layer(1), store.read_layer(1))
    y = make(tmp_path / "y.zarr", seed=1)
    local = prh_jax.align(store, y, ["mutual_knn"]).dataset["mutual_knn"]
    argv = ["align", "--x", "memory://there/a.zarr", "--y", str(y.path), "--metric", "mutual_knn"]
    assert main([*argv, "-o", str(tmp_path / "r.zarr")]) == 0
    np.testing.assert_array_equal(prh_jax.load_alignment(tmp_path / "r.zarr").dataset["mutual_knn"], local)
    assert main(["inspect", "memory://there/a.zarr"]) == 0
    with pytest.raises(StoreError, match="memory://there/none.zarr is not a feature store"):
        prh_jax.open_store("memory://there/none.zarr")
    with pytest.raises(StoreError, match="can be read, not written"):
        FeatureWriter(remote)


def test_stores_behind_http(tmp_path):
    pytest.importorskip("aiohttp")
    store = make(tmp_path / "a.zarr")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        remote = prh_jax.open_store(f"{url}/a.zarr")
        assert remote.checksum() == store.checksum()
        np.testing.assert_array_equal(remote.read_layer(0), store.read_layer(0))
        with pytest.raises(StoreError, match=r"none.zarr is not a feature store"):
            prh_jax.open_store(f"{url}/none.zarr")
        next(p for p in (store.path / "features" / "c" / "1").rglob("*") if p.is_file()).unlink()
        with pytest.raises(StoreError, match="samples are missing"):
            prh_jax.open_store(f"{url}/a.zarr").read_layer(1)
    finally:
        server.shutdown()


def test_a_file_system_that_is_not_installed_says_so():
    with pytest.raises(StoreError, match=r"prh-jax\[remote\]"):
        prh_jax.open_store("s3://bucket/a.zarr")


def test_pairing_by_the_ids_that_all_hold(tmp_path, capsys):
    a = make(tmp_path / "a.zarr", ids=IDS[:500])
    b = make(tmp_path / "b.zarr", ids=IDS[100:][::-1], seed=1)
    whole_a, whole_b = make(tmp_path / "wa.zarr"), make(tmp_path / "wb.zarr", seed=1)
    (pa,), (pb,) = pair_stores([a], [b], "inner")
    assert pa.ids == pb.ids == IDS[100:500] and pa.n == 400
    for layer in range(2):
        np.testing.assert_array_equal(pa.read_layer(layer), whole_a.read_layer(layer)[100:500])
        np.testing.assert_array_equal(pb.read_layer(layer), whole_b.read_layer(layer)[100:500])
        np.testing.assert_array_equal(pb.read_rows(slice(256, 400))[layer], whole_b.read_layer(layer)[356:500])
    with pytest.raises(StoreError, match="500 samples|other ids"):
        prh_jax.align(a, b, ["mutual_knn"])
    for name, seed in (("ca.zarr", 0), ("cb.zarr", 1)):
        make(tmp_path / name, ids=IDS[100:500], seed=seed)
    cut = prh_jax.align(tmp_path / "ca.zarr", tmp_path / "cb.zarr", ["mutual_knn", "cka"])
    paired = prh_jax.align(a, b, ["mutual_knn", "cka"], pair="inner")
    for key in cut.metrics:
        np.testing.assert_array_equal(cut.dataset[key].values, paired.dataset[key].values)
    assert paired.protocol["n"] == 400 and paired.protocol["ids_sha256"] == cut.protocol["ids_sha256"]
    argv = ["align", "--x", str(a.path), "--y", str(b.path), "--metric", "cka", "-o", str(tmp_path / "r.zarr")]
    assert main(argv) == 2
    assert main([*argv, "--pair", "inner"]) == 0
    assert "Paired by id: 400 samples" in capsys.readouterr().out
    foreign = prh_jax.write_features(tmp_path / "f.zarr", [np.eye(4)], spec={}, ids=list("wxyz"))
    with pytest.raises(StoreError, match="'s0'.*'w'.*share no"):
        prh_jax.align(a, foreign, ["cka"], pair="inner")
    with pytest.raises((ValueError, TypeCheckError), match="pair"):
        prh_jax.align(a, b, ["cka"], pair="outer")


def test_ids_that_look_alike_are_paired_on_request(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 8, 5)).astype(np.float32)
    names = ["a", "é", "ö", "d", "e", "f", "g", "h"]
    split = [unicodedata.normalize("NFD", name) for name in names]
    spec = {"model": "m", "modality": "vision", "pool": "mean"}
    a = prh_jax.write_features(tmp_path / "a.zarr", [x], ids=names, spec=spec)
    b = prh_jax.write_features(tmp_path / "b.zarr", [y], ids=split, spec=spec | {"model": "n"})
    plain = prh_jax.write_features(tmp_path / "c.zarr", [y], ids=names, spec=spec | {"model": "n"})
    with pytest.raises(
        StoreError, match=r"look alike.*row 1 is sample '\\xe9' in the one and 'e\\u0301'.*normalize_ids=True"
    ):
        prh_jax.align(a, b, ["cka"])
    with pytest.raises(StoreError, match="2 samples, such as .* look alike .* 6 ids are equal. normalize_ids=True"):
        prh_jax.align(a, b, ["cka"], pair="inner")
    right = prh_jax.align(a, plain, ["cka"]).dataset["cka"].values
    for pair in ("exact", "inner"):
        found = prh_jax.align(a, b, ["cka"], pair=pair, normalize_ids=True, output=tmp_path / f"{pair}.zarr")
        np.testing.assert_array_equal(found.dataset["cka"].values, right)
        assert found.provenance.normalize_ids and prh_jax.finish_alignment(tmp_path / f"{pair}.zarr") is not None
    both = prh_jax.write_features(tmp_path / "both.zarr", [x[:2]], ids=["é", "e\u0301"], spec=spec)
    with pytest.raises(StoreError, match=r"'\\xe9' \(row 0\) and 'e\\u0301' \(row 1\).*one id"):
        prh_jax.align(both, None, ["cka"], normalize_ids=True)


def test_another_schema_is_named(tmp_path):
    store = make(tmp_path / "a.zarr")
    record = json.loads((store.path / "zarr.json").read_text())
    record["attributes"]["schema"] = "prh-jax/features/2"
    (store.path / "zarr.json").write_text(json.dumps(record))
    before = contents(store.path)
    for call in (prh_jax.open_store, pack, prh_jax.inspect_store):
        with pytest.raises(StoreError, match="features/2.*reads 'prh-jax/features/1'"):
            call(store.path)
    with pytest.raises(StoreError, match="is not overwritten"):
        prh_jax.write_features(store.path, [np.eye(4)], spec={}, ids=list("abcd"), overwrite=True)
    assert contents(store.path) == before
