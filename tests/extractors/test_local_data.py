"""Local data are read as they are: every file, a split if asked for, texts that are texts, pictures as people see."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from samples import png, write_parquet

from extractors.datasets.loading import Columns, load
from extractors.datasets.pictures import as_rgb, decode
from extractors.errors import ExtractionError


def paint(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (level, 0, 0)).save(path)


def test_names_of_files_do_not_choose_samples(tmp_path):
    names = ["bus/1.png", "train.png", "train/1.png", "val/1.png"]
    for level, name in enumerate(names):
        paint(tmp_path / name, level)
    for hidden in (".ipynb_checkpoints/train.png", "bus/.1.png", "__MACOSX/1.png"):
        paint(tmp_path / hidden, 9)
    data = load(str(tmp_path))
    assert data.ids == names and data.split is None
    assert [data.image(row).getpixel((0, 0))[0] for row in range(4)] == [0, 1, 2, 3]
    assert load(str(tmp_path), split="train").ids == ["train/1.png"]
    with pytest.raises(ExtractionError, match="no split 'test'.*Leave --split away"):
        load(str(tmp_path), split="test")


def test_a_picture_that_metadata_leave_out_is_kept(tmp_path):
    for level in range(3):
        paint(tmp_path / f"{level}.png", level)
    (tmp_path / "metadata.csv").write_text("file_name,text\n2.png,two\n0.png,zero\n")
    data = load(str(tmp_path))
    assert data.ids == ["0.png", "1.png", "2.png"] and data.texts == [["zero"], [""], ["two"]]
    (tmp_path / "metadata.csv").write_text("file_name,text\n7.png,seven\n")
    with pytest.raises(ExtractionError, match=r"describes '7.png', and there is no such file"):
        load(str(tmp_path))


def test_a_split_is_read_as_asked_and_recorded_as_read(tmp_path):
    for name, count in (("train-00000-of-00001", 5), ("test-00000-of-00001", 3), ("data/dev/0", 2)):
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"text": [f"{name} {i}" for i in range(count)]}), path)
    for split, count in (("train", 5), ("test", 3), ("dev", 2), (None, 10)):
        data = load(str(tmp_path), split=split)
        assert len(data) == count and data.identity()["split"] == split
    with pytest.raises(ExtractionError, match="one file, without splits"):
        load(str(tmp_path / "data/dev/0.parquet"), split="dev")
    with pytest.raises(ExtractionError, match="emoji_1024 has no split 'test'"):
        load("emoji_1024", split="test")


TEXTS = ["ein Hund", "été", "犬"]


@pytest.mark.parametrize(
    ("values", "kind", "named"),
    [
        ([text.encode() for text in TEXTS], pa.binary(), None),
        ([{"text": text, "score": 1} for text in TEXTS], None, "text.text"),
        ([{"inner": {"words": [text]}} for text in TEXTS], None, "text.inner.words"),
        ([[text.encode()] for text in TEXTS], pa.list_(pa.binary()), None),
    ],
)
def test_texts_are_decoded_or_found_in_a_field(tmp_path, values, kind, named):
    pq.write_table(pa.table({"text": pa.array(values, kind)}), tmp_path / "t.parquet")
    assert load(str(tmp_path / "t.parquet"), columns=Columns(text=named)).captions() == TEXTS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2, 3], "'text' of .* holds no texts: row 0 is 1 .int."),
        ([{"caption": "a"}] * 3, "row 0 is a struct with caption.*--text-column: text.caption"),
        ([[["a"], ["b"]]] * 3, "row 0 is a list"),
        ([b"\xff\xfe"] * 3, "Row 0 .* not UTF-8"),
    ],
)
def test_what_is_no_text_is_refused_by_column_and_type(tmp_path, values, message):
    pq.write_table(pa.table({"text": values}), tmp_path / "t.parquet")
    with pytest.raises(ExtractionError, match=message):
        load(str(tmp_path / "t.parquet"))


@pytest.mark.parametrize(("name", "text"), [("t.csv", "text\na\n\nb\n\n"), ("t.txt", "a\r\rb")])
def test_empty_lines_are_empty_texts(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    assert load(str(tmp_path / name)).texts == [["a"], [""], ["b"]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_texts_in_utf_16_are_refused_with_the_reason(tmp_path, encoding):
    (tmp_path / "t.csv").write_bytes("text\na\n".encode(encoding))
    with pytest.raises(ExtractionError, match="is text in UTF-16.*Save it as CSV in UTF-8"):
        load(str(tmp_path / "t.csv"))
    (tmp_path / "T.CSV").write_bytes("text\na\n".encode("utf-8-sig"))
    assert load(str(tmp_path / "T.CSV")).texts == [["a"]]


def test_a_picture_that_is_described_twice(tmp_path, capsys):
    paint(tmp_path / "a.png", 1)
    (tmp_path / "b.heic").write_bytes(b"x")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,one\na.png,two\n")
    with pytest.raises(ExtractionError, match=r"describes a.png, which was described before"):
        load(str(tmp_path))
    assert "1 files are not read, and left out: b.heic" in capsys.readouterr().err


def test_deep_tiffs_whose_zero_is_white_and_deep_files_of_8_bits(tmp_path):
    values = np.array([[0, 30000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.tiff", tiffinfo={262: 0})
    found = np.asarray(as_rgb(decode(str(tmp_path / "a.tiff"))))[0, :, 0]
    assert found.tolist() == [255, 255 - (30000 >> 8), 0]
    with pytest.raises(ValueError, match="0 to 200 alone, which would all be black"):
        as_rgb(Image.fromarray(np.array([[0, 200]], np.uint16)))


ROWS = [
    {"id": "a", "text": "red, and\u2028blue", "image": "a.png"},
    {"id": "b", "text": "green", "image": "b.png"},
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", 'id,text,image\r\na,"red, and\u2028blue",a.png\r\nb,green,b.png\r\n'),
        ("t.tsv", "\ufeffid\ttext\timage\na\tred, and\u2028blue\ta.png\nb\tgreen\tb.png\n"),
        ("t.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)),
        ("t.json", json.dumps([row | {"text": [row["text"]]} for row in ROWS])),
        ("t.txt", "red, and\u2028blue\r\ngreen\r\n"),
    ],
)
def test_tables_of_text_files(tmp_path, name, text):
    for level, picture in ((7, "a.png"), (9, "b.png")):
        paint(tmp_path / picture, level)
    (tmp_path / name).write_bytes(text.encode())
    data = load(str(tmp_path / name))
    assert data.texts == [["red, and\u2028blue"], ["green"]] and data.ids == (
        ["0", "1"] if name == "t.txt" else ["a", "b"]
    )
    if name != "t.txt":
        assert [data.image(row).getpixel((0, 0))[0] for row in range(2)] == [7, 9]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "id,text,text\na,red,blue\n", "two columns 'text'"),
        ("t.csv", "id,text\na,red\n\nb,blue\n", "Row 1 of .* no row is empty"),
        ("t.tsv", 'id\ttext\n1\t"hello\n2\tworld"\n', "3 lines read as 2 rows"),
        ("t.json", '{"text": ["a cat", "a dog"]}', "is one object, and its lists"),
        ("t.jsonl", "[" * 100_000, "cannot be read"),
        ("t.csv", "id,text\na,red,blue\n", "Row 0 of .*t.csv has other columns than its header"),
        ("t.csv", "id,text\n", "t.csv has no rows"),
        ("t.jsonl", '{"text": "red"}\n["green"]\n', "Row 1 of .*t.jsonl is no object with columns"),
        ("t.jsonl", '{"text": "red"\n', "t.jsonl cannot be read"),
        ("t.xlsx", "PK", "t.xlsx is no data set: one file is read if it ends in .parquet"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ExtractionError, match=message):
        load(str(tmp_path / name))


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ([b"a0", b"a1"], ["a0", "a1"]),
        ([7, 8], ["7", "8"]),
        ([7.0, 8.0], ["7", "8"]),
        (["a", None], None),
        ([0.5, 1.5], None),
    ],
)
def test_ids_are_texts_or_whole_numbers(tmp_path, ids, found):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": ids, "text": ["a", "b"]}), path)
    if found is None:
        with pytest.raises(ExtractionError, match=r"Row [01] of column 'id' .* has no id"):
            load(str(path))
    else:
        assert load(str(path)).ids == found


def test_deep_grey_keeps_its_range():
    ramp = np.linspace(0, 2**16 - 1, 64).reshape(8, 8)
    expected = np.floor(ramp).astype(int) >> 8
    for image in (Image.fromarray(ramp.astype(np.uint16)), Image.fromarray(ramp.astype(np.int32))):
        np.testing.assert_array_equal(np.asarray(as_rgb(image))[..., 0], expected)
    unit = Image.fromarray((ramp / (2**16 - 1)).astype(np.float32))
    np.testing.assert_allclose(np.asarray(as_rgb(unit))[..., 1], ramp / 257, atol=0.51)
    for values in (ramp.astype(np.float32), (ramp * 1000).astype(np.int32)):
        with pytest.raises(ValueError, match="store it with 8 or 16 bits"):
            as_rgb(Image.fromarray(values))


def test_pictures_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a camera held upright: the first row is the right side
    image = Image.new("RGB", (2, 1), (255, 0, 0))
    image.putpixel((1, 0), (0, 0, 255))
    image.save(tmp_path / "a.png", exif=exif)
    seen = load(str(tmp_path)).image(0)
    assert seen.size == (1, 2) and seen.getpixel((0, 0)) == (255, 0, 0) and seen.getpixel((0, 1)) == (0, 0, 255)
    assert "upright" in load(str(tmp_path)).identity()["pictures"]


def test_pictures_by_path_and_url(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below/a.png").write_bytes(png(Image.new("RGB", (3, 3), (5, 6, 7))))
    where = ["below/a.png", str(tmp_path / "below/a.png"), (tmp_path / "below/a.png").as_uri()]
    data = load(write_parquet(tmp_path / "t.parquet", n=3, image=where))
    assert [data.image(row).getpixel((0, 0)) for row in range(3)] == [(5, 6, 7)] * 3
    with pytest.raises(ExtractionError, match="it is a value of type int, and an encoded file"):
        load(write_parquet(tmp_path / "n.parquet", n=3, image=[1, 2, 3]))
    missing = load(write_parquet(tmp_path / "m.parquet", n=3, image=["nowhere.png"] * 3))
    with pytest.raises(ExtractionError, match=json.dumps(str(tmp_path / "nowhere.png")).strip('"')):
        missing.image(0)
