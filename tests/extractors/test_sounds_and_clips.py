"""Sounds and clips: decoded as stored, and read by each family as its own library reads one sample alone."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

pytest.importorskip("soundfile")
pytest.importorskip("av")

from PIL import Image
from samples import png
from tiny_files import animation, film, frames, sound, wav, write_checkpoint

from extractors.datasets.clips import FrameRule
from extractors.datasets.loading import Columns, load
from extractors.errors import ExtractionError, MissingExtraError
from extractors.models import audio, video, vision
from extractors.pipeline.run import extract_model, modality_of
from extractors.pipeline.settings import Settings
from prh_jax import open_store
from prh_jax.cli.main import main

SECONDS = [0.9, 0.5, 1.2, 0.5, 1.0, 0.7]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root, made = tmp_path_factory.mktemp("files"), {}

    def get(kind):
        if kind not in made:
            made[kind] = write_checkpoint(kind, root / kind)
        return made[kind]

    return get


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six samples in four modalities: sounds of several lengths, clips of 3 to 8 frames."""
    path = tmp_path_factory.mktemp("data") / "four.parquet"
    clips = [film(frames(i, 3 + i)) for i in range(6)]
    table = {
        "id": [f"s{i}" for i in range(6)],
        "image": [{"bytes": png(Image.fromarray(frames(i, 1)[0])), "path": None} for i in range(6)],
        "text": [f"sample {i}" for i in range(6)],
        "audio": [{"bytes": wav(sound(i, s)), "path": None} for i, s in enumerate(SECONDS)],
        "video": [{"bytes": clip, "path": None} for clip in clips],
    }
    pq.write_table(pa.table(table), path)
    return str(path)


def test_sounds_are_decoded_to_one_channel_and_resampled(tmp_path):
    stereo = sound(0, 0.5, rate=8000, channels=2)
    files = {"a.wav": wav(stereo, 8000), "b.flac": wav(stereo, 8000, format="FLAC", subtype="PCM_16")}
    for name, stored in files.items():
        (tmp_path / name).write_bytes(stored)
    (tmp_path / "metadata.csv").write_text("file_name,text\na.wav,one\nb.flac,two\n")
    found = load(str(tmp_path))
    assert found.ids == ["a.wav", "b.flac"] and found.texts == [["one"], ["two"]]
    assert found.kinds == {
        "audio": {"WAV FLOAT, 8000 Hz, mean of 2 channels": 1, "FLAC PCM_16, 8000 Hz, mean of 2 channels": 1}
    }
    assert np.array_equal(found.sound(0)[0], stereo.mean(axis=1)) and found.sound(0)[1] == 8000
    assert np.abs(found.sound(1)[0] - stereo.mean(axis=1)).max() < 2**-15
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    doubled = audio.sounds.resample(tone.astype(np.float32), 8000, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert np.abs(doubled - expected)[500:-500].max() < 2e-3
    assert found.identity()["sounds"] == "float32, mean over channels"


def test_columns_of_the_hub_are_left_encoded(data):
    datasets = pytest.importorskip("datasets")
    from extractors.datasets.loading import Columns, _dataset, _encoded

    columns = pq.read_table(data).select(["id", "audio", "video"]).to_pydict()
    table = datasets.Dataset.from_dict(columns)
    for name, kind in (("audio", datasets.Audio()), ("video", datasets.Video())):
        table = table.cast_column(name, kind)
    found = _dataset("hub/set", None, "train", _encoded("hub/set", table, Columns()), Columns(), None, None)
    assert np.array_equal(found.sound(1)[0], sound(1, 0.5)[:, 0])
    assert np.array_equal(np.asarray(found.frames(2, FrameRule(5))[4]), frames(2, 5)[4])


@pytest.mark.parametrize("stored", [film, animation])
def test_frames_are_chosen_by_the_rule(tmp_path, stored):
    made = frames(3, 8)
    table = pa.table({"id": ["a"], "video": [{"bytes": stored(made), "path": None}]})
    pq.write_table(table, tmp_path / "clips.parquet")
    clip = load(str(tmp_path / "clips.parquet"))
    for rule, rows in ((FrameRule(1), [4]), (FrameRule(2), [2, 6]), (FrameRule(8), list(range(8)))):
        found = np.stack([np.asarray(frame) for frame in clip.frames(0, rule)])
        assert np.abs(found.astype(int) - made[rows]).max() <= (0 if stored is film else 8)
    drawn = FrameRule(4, seed=1).rows(8, "a")
    assert all(row in (2 * part, 2 * part + 1) for part, row in enumerate(drawn))
    assert drawn == FrameRule(4, seed=1).rows(8, "a")
    assert len({tuple(FrameRule(4, seed=seed).rows(800, "a")) for seed in range(3)}) == 3
    assert FrameRule(4).rows(2) == [0, 0, 1, 1]
    for text in ("0", "a", "8@", "-1"):
        with pytest.raises(ExtractionError, match="--frames"):
            FrameRule.parse(text)


def naive_states(kind, model, processor, wave):
    """The library's own states of one sound alone, and how many are of its time, by counting."""
    made = processor(wave, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        states = model(**made, output_hidden_states=True).hidden_states
    count = len(wave)
    if kind == "whisper":  # a frame every 160 samples, of which every other one is kept
        count = len(range(0, len(range(0, count, 160)), 2))
    elif kind != "clap":
        for kernel, stride in ((10, 5), (8, 4), (4, 4)):
            count = (count - kernel) // stride + 1
    return states, count


WAVES = ["wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "wav2vec2-conformer"]


@pytest.mark.parametrize("kind", [*WAVES, "whisper", "clap"])
def test_sounds_have_the_states_of_the_library(kind, checkpoints, data):
    import transformers

    extractor = audio.load(checkpoints(kind))
    processor = transformers.AutoFeatureExtractor.from_pretrained(checkpoints(kind))
    whole = transformers.AutoModel.from_pretrained(checkpoints(kind)).eval()
    model = {"whisper": lambda: whole.encoder, "clap": lambda: whole.audio_model}.get(kind, lambda: whole)()
    samples = load(data)
    found, numbers = extractor.forward([extractor.prepare(samples, row)[0] for row in range(6)])
    assert numbers["seconds"] == pytest.approx(SECONDS)
    assert modality_of(checkpoints(kind)) == "audio" and len(found) == (3 if kind == "clap" else 4)
    for row in range(6):
        states, count = naive_states(kind, model, processor, samples.sound(row)[0])
        for layer, state in zip(found, states, strict=True):
            expected = state[0].flatten(1).T if kind == "clap" else state[0, :count]
            expected = expected.float().mean(dim=0)
            exact = 2e-6 if kind != "hubert" else 1e-4  # sums in another order; a mask in float32
            assert (layer[row] - expected).abs().max() <= exact * expected.abs().max()
    if kind != "clap":
        assert extractor.loaded.states.blocks is not None
        inputs = extractor._inputs([extractor.prepare(samples, 0)[0]])
        with torch.inference_mode():
            library = extractor.model(**inputs, output_hidden_states=True).hidden_states
            hooked = extractor.loaded.states.read(inputs, torch.clone)
        assert all(map(torch.equal, hooked, library))


def test_patches_of_a_spectrogram_are_those_of_the_sound(checkpoints, data):
    """AST reads padding as patches; the mean leaves out those that begin after the sound."""
    samples, path = load(data), checkpoints("audio-spectrogram-transformer")
    extractor, mean = audio.load(path), audio.load(path, pool="mean")
    assert (extractor.pool, mean.pool) == ("cls", "mean")
    sounds = [extractor.prepare(samples, row)[0] for row in range(6)]
    found, averaged = extractor.forward(sounds)[0], mean.forward(sounds)[0]
    with torch.inference_mode():
        library = extractor.model(torch.stack([s.values for s in sounds]), output_hidden_states=True).hidden_states
    rows, columns = (32 - 16) // 10 + 1, (128 - 16) // 10 + 1
    for layer, means, states in zip(found, averaged, library, strict=True):
        assert torch.equal(layer, states[:, 0])
        for row, seconds in enumerate(SECONDS):
            windows = (int(seconds * 16000) - 400) // 160 + 1
            grid = states[row, 2:].reshape(rows, columns, -1)
            kept = [grid[:, column] for column in range(columns) if 10 * column < windows]
            assert torch.allclose(means[row], torch.cat(kept).mean(dim=0), rtol=0, atol=1e-6)


def test_thirds_of_a_sound_follow_each_other(checkpoints, data):
    samples = load(data)
    thirds, mean = (audio.load(checkpoints("hubert"), pool=pool) for pool in ("thirds", "mean"))
    sounds = [mean.prepare(samples, row)[0] for row in (1, 3)]
    found = thirds.forward(sounds)[0][2].reshape(2, 3, 32)
    with torch.inference_mode():
        states = mean.loaded.states.read(mean._inputs(sounds), torch.clone)[2]
    for part in range(3):
        rows = [i for i in range(states.shape[1]) if 3 * i // states.shape[1] == part]
        assert torch.allclose(found[:, part], states[:, rows].mean(dim=1), rtol=0, atol=1e-6)
    with pytest.raises(ExtractionError, match="order of time"):
        audio.load(checkpoints("clap"), pool="thirds")


@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
@pytest.mark.parametrize("kind", ["videomae", "timesformer", "vivit", "vjepa2"])
def test_clips_have_the_states_of_the_library(kind, checkpoints, data):
    import transformers

    extractor, samples = video.load(checkpoints(kind)), load(data)
    assert modality_of(checkpoints(kind)) == "video" and str(extractor.frames) == "4"
    assert extractor.pool == ("cls" if kind in ("timesformer", "vivit") else "mean")
    found, _ = extractor.forward([extractor.prepare(samples, row)[0] for row in range(3)])
    pictures = [[frames(row, 3 + row)[i] for i in extractor.frames.rows(3 + row)] for row in range(3)]
    name = "AutoVideoProcessor" if kind == "vjepa2" else "AutoImageProcessor"
    made = getattr(transformers, name).from_pretrained(checkpoints(kind))
    inputs = {key: torch.cat([made(p, return_tensors="pt")[key] for p in pictures]) for key in made.model_input_names}
    model = transformers.AutoModel.from_pretrained(checkpoints(kind)).eval()
    with torch.inference_mode():
        states = model(**inputs, output_hidden_states=True).hidden_states
    for layer, state in zip(found, states, strict=True):
        assert torch.equal(layer, state[:, 0] if extractor.pool == "cls" else state.mean(dim=1))
    with pytest.raises(ExtractionError, match=r"does not read 3 frames.*configuration says 4"):
        video.load(checkpoints("timesformer"), frames=FrameRule(3))


def test_image_models_read_clips_as_the_mean_of_their_frames(data, tmp_path):
    samples = load(data)
    settings = Settings(output_dir=tmp_path, random_init=0, frames="2")
    path = extract_model("resnet18", samples, settings, modality="video")
    assert path.name == "resnet18_random-0_pool-mean_video_frames-2.zarr"
    extractor = vision.load("resnet18", random_init=0)
    store = open_store(path)
    for row in range(6):
        pictures = [Image.fromarray(frames(row, 3 + row)[i]) for i in FrameRule(2).rows(3 + row)]
        inputs = [extractor.tower.transform(picture) for picture in pictures]
        for i, layer in enumerate(extractor.forward(inputs)[0]):
            expected = layer.mean(dim=0).numpy()
            assert np.allclose(store.read_layer(i)[row], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_a_stopped_run_goes_on_to_the_same_bits(checkpoints, tmp_path, monkeypatch):
    """300 sounds, and clips by an image model: a block and a part of one; the second block fails at first."""
    import pyarrow as pa

    from extractors.pipeline import run

    sounds = [{"bytes": wav(sound(i, 0.1 + i % 7 / 50)), "path": None} for i in range(300)]
    clips = [{"bytes": animation(frames(i, 3, size=16)), "path": None} for i in range(300)]
    pq.write_table(pa.table({"audio": sounds, "video": clips}), tmp_path / "many.parquet")
    samples, write = load(str(tmp_path / "many.parquet")), run.FeatureWriter.write_block
    for kind, model in (("audio", checkpoints("hubert")), ("video", "color_histogram")):
        whole = open_store(extract_model(model, samples, Settings(output_dir=tmp_path / "whole"), modality=kind))

        def stop(self, block, *args, **values):
            if block == 1:
                raise KeyboardInterrupt
            write(self, block, *args, **values)

        stopped = Settings(output_dir=tmp_path / "stopped")
        monkeypatch.setattr(run.FeatureWriter, "write_block", stop)
        with pytest.raises(KeyboardInterrupt):
            extract_model(model, samples, stopped, modality=kind)
        monkeypatch.setattr(run.FeatureWriter, "write_block", write)
        resumed = open_store(extract_model(model, samples, stopped, modality=kind))
        for i in range(len(whole.layers)):
            assert np.array_equal(whole.read_layer(i), resumed.read_layer(i))


def test_broken_files_are_named(checkpoints, tmp_path, capsys):
    good = {"audio": wav(sound(0, 0.5)), "video": film(frames(0, 4))}
    for kind, model in (("audio", checkpoints("wav2vec2")), ("video", "hog")):
        path = tmp_path / f"{kind}.parquet"
        files = [{"bytes": stored, "path": None} for stored in (good[kind], b"no file", good[kind][:60], good[kind])]
        pq.write_table(pa.table({"id": list("abcd"), kind: files}), path)
        line = f"extract --dataset {path} --model {model} --modality {kind} --output-dir".split()
        assert main([*line, str(tmp_path / "first")]) == 2
        noun = {"audio": "sound", "video": "clip"}[kind]
        assert f"The {noun} of sample 'b'" in capsys.readouterr().err
        assert main([*line, str(tmp_path / "out"), "--on-error", "skip"]) == 0
        assert "2 samples are broken" in capsys.readouterr().err
        (store,) = (tmp_path / "out" / path.relative_to("/")).glob("*.zarr")
        assert list(open_store(store).ids) == ["a", "d"]
    short = {"bytes": wav(sound(0, 0.001)), "path": None}
    pq.write_table(pa.table({"audio": [short]}), tmp_path / "short.parquet")
    with pytest.raises(ExtractionError, match=r"sample '0' lasts 0.001 s, which is 0 frames"):
        audio.load(checkpoints("hubert")).prepare(load(str(tmp_path / "short.parquet")), 0)
    long = {"bytes": wav(sound(0, 2.5)), "path": None}
    pq.write_table(pa.table({"audio": [long]}), tmp_path / "long.parquet")
    with pytest.raises(
        ExtractionError, match=r"lasts 2.5 s, and .* reads 2 s at most. Cut sounds with --max-seconds 2"
    ):
        audio.load(checkpoints("whisper")).prepare(load(str(tmp_path / "long.parquet")), 0)
    cut = audio.load(checkpoints("whisper"), max_seconds=2)
    (prepared,) = cut.prepare(load(str(tmp_path / "long.parquet")), 0)
    assert (prepared.seconds, prepared.cut, prepared.frames) == (2.0, 0.5, 100)


def test_animations_of_a_folder_are_clips_where_their_column_is_named(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.gif").write_bytes(animation(frames(i, 4)))
    with pytest.raises(ExtractionError, match="has no clips.* If its pictures are animated, give --video-column image"):
        load(str(tmp_path)).check_media("video")
    found = load(str(tmp_path), columns=Columns(video="image"))
    found.check_media("video")
    assert found.ids == ["0.gif", "1.gif"] and len(found.frames(0, FrameRule(4))) == 4


def test_films_and_animations_of_a_folder_are_clips_where_models_read_clips(tmp_path, capsys):
    """Pictures that stand still are none, and pictures win where models read pictures, or both."""
    root = tmp_path / "mixed"
    root.mkdir()
    for i in range(2):
        (root / f"film{i}.mp4").write_bytes(film(frames(i, 4)))
        (root / f"gif{i}.gif").write_bytes(animation(frames(i, 4)))
    (root / "still.png").write_bytes(png(Image.fromarray(frames(0, 1)[0])))
    line = ["extract", "--dataset", str(root), "--output-dir", str(tmp_path / "out"), "--batch-size", "2"]
    assert main([*line, "--model", "pixels_32", "--modality", "video", "--frames", "2"]) == 0
    assert "1 files are not read, and left out: still.png\n" in capsys.readouterr().err
    (store,) = (tmp_path / "out").rglob("*.zarr")
    assert open_store(store).ids == ["film0.mp4", "film1.mp4", "gif0.gif", "gif1.gif"]
    assert main([*line, "--model", "pixels_32", "--modality", "vision", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert "gif0.gif" in out and "2 files are not read, and left out: film0.mp4, film1.mp4\n" in err
    with pytest.raises(ExtractionError, match="no clips among its samples, which are pictures.*of their own"):
        load(str(root)).check_media("video")
    assert load(str(root), columns=Columns(video="image"), medium="video").ids[0] == "gif0.gif"
    (root / "speech.wav").write_bytes(wav(sound(0, 0.5)))
    assert load(str(root), medium="audio").ids == ["speech.wav"]
    (root / "gif0.mp4").write_bytes(film(frames(0, 4)))  # one sample by its name, whose picture is the animation
    assert set(load(str(root), medium="video").media) == {"image", "video", "audio"}


def test_a_missing_codec_says_how_to_install_it(data, monkeypatch):
    samples = load(data)
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"package soundfile.*prh-jax\[audio\]"):
        samples.sound(0)
    with pytest.raises(MissingExtraError, match=r"package av.*prh-jax\[video\]"):
        samples.frames(0, FrameRule(1))


def test_files_of_one_name_are_one_sample(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(Image.fromarray(frames(i, 1)[0])))
        (tmp_path / f"{i}.wav").write_bytes(wav(sound(i, 0.2)))
    (tmp_path / "2.mkv").write_bytes(film(frames(2, 3)))
    rows = [{"file_name": f"{i}.png", "text": f"text {i}"} for i in range(3)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = load(str(tmp_path))
    assert found.ids == ["0", "1", "2"] and found.texts == [["text 0"], ["text 1"], ["text 2"]]
    assert np.array_equal(found.sound(2)[0], sound(2, 0.2)[:, 0]) and found.kinds["video"]["missing"] == 2
    with pytest.raises(ExtractionError, match="clip of sample '0'"):
        found.frames(0, FrameRule(1))
    (tmp_path / "2.flac").write_bytes(b"")
    with pytest.raises(ExtractionError, match="have one name"):
        load(str(tmp_path))
