"""What a hub does not give: each failure with its message, and the other models are extracted all the same."""

import time

import pytest
from repositories import clip, language_model, timm_model, two_languages
from server import TOKEN

from prh_jax import open_store

EMOJI = "extract --dataset emoji_1024 --num-samples 12"


def weights(seed):
    return language_model(seed=seed)["model.safetensors"]


def put(hub, name, seed=0, fault=None, **more):
    hub.put("models", name, {**language_model(), "model.safetensors": weights(seed)}, **more)
    if fault:
        hub.faults[name.replace("/", "--"), "model.safetensors"] = fault


def test_each_failure_of_a_language_model_is_told(hub, home, online):
    half = weights(0)[: len(weights(0)) // 2]
    hub.put("models", "lab/damaged", {**language_model(), "model.safetensors": half})
    put(hub, "lab/gated", gated=True)
    put(hub, "lab/short", 1, "short")
    put(hub, "lab/forbidden")
    hub.faults["lab--forbidden", "config.json"] = "forbidden"
    put(hub, "lab/slow", 3, "slow")
    put(hub, "lab/steps", revision="step10")
    failing = {
        "lab/gated": f"lab/gated is gated, and you are not logged in. Accept the terms of its owners at {hub.endpoint}/"
        "lab/gated, log in by `hf auth login` or set HF_TOKEN",
        "lab/missing": f"{hub.endpoint} has no model lab/missing, or it is private. Check the name",
        "lab/steps@step11": "lab/steps has no revision 'step11'; it has step10.",
        "lab/short": "The download of lab/short broke off: Consistency check failed: file should be of size "
        f"{len(weights(1))} but has size {len(weights(1)) // 2}",
        "lab/forbidden": f"{hub.endpoint} answers with status 403, and the cache (",
        "lab/damaged": "The weights of lab/damaged are damaged (Error while deserializing header: incomplete metadata, "
        "file not fully covered), and the cache holds what the hub serves.",
    }
    done = online.run(f"{EMOJI} --modality language --model {' '.join(failing)} lab/slow --output-dir failing")
    assert done.status == 1 and "6 of 7 models failed" in done.out
    for name, message in failing.items():
        assert f"failed  {name}: Language model {name!r} could not be loaded: {message}" in done.out
    assert open_store(online.folder / "failing/emoji_1024/lab--slow_pool-mean.zarr").complete
    (blob,) = (home / "hub/models--lab--slow/snapshots").glob("*/model.safetensors")
    with blob.open("r+b") as file:
        file.truncate(1000)
    changed = online.run(f"{EMOJI} --modality language --model lab/slow --output-dir changed")
    assert changed.status == 2 and f"model.safetensors changed in the cache. Remove {blob.resolve()} and" in changed.err
    del hub.faults["lab--short", "model.safetensors"]
    again = online.run(f"{EMOJI} --modality language --model lab/short --output-dir failing")
    assert again.status == 0 and len(hub.asked("lab/short/resolve", "HEAD")) > 3
    assert len(hub.asked("lab/short/resolve")) == len({a.path for a in hub.asked("lab/short/resolve")})


def test_what_a_token_opens(hub, online):
    put(hub, "lab/terms", gated=True)
    line = f"{EMOJI} --modality language --model lab/terms --output-dir tokens"
    other = online.run(line, HF_TOKEN="hf_stranger")
    assert other.status == 2 and "lab/terms is gated, and the account of your token has no access." in other.err
    assert online.run(line, HF_TOKEN=TOKEN).status == 0
    assert {asked.token for asked in hub.asked("lab/terms/resolve")} >= {TOKEN}
    assert [asked.token for asked in hub.asked("lab--terms")] == [None], "a token must not leave the hub"


def test_each_failure_of_a_vision_model_is_told(hub, online):
    files = timm_model("test_vit.r160_in1k")
    hub.put("models", "timm/test_vit2.r160_in1k", files, gated=True)
    hub.put("models", "timm/test_vit3.r160_in1k", {"model.safetensors": files["model.safetensors"][:10_000]})
    hub.put("models", "openai/clip", clip())
    failing = {
        "test_vit2.r160_in1k": "timm/test_vit2.r160_in1k is gated, and you are not logged in",
        "test_vit3.r160_in1k": "The weights of timm/test_vit3.r160_in1k are damaged (Error while deserializing header",
        "test_resnet.r160_in1k": f"{hub.endpoint} has no model timm/test_resnet.r160_in1k, or it is private",
        "hf_hub:lab/nowhere": f"{hub.endpoint} has no model lab/nowhere, or it is private",
        "openai/clip@v9": "openai/clip has no revision 'v9'; it has main",
    }
    done = online.run(f"{EMOJI} --modality vision --model {' '.join(failing)} openai/clip --output-dir failing")
    assert done.status == 1 and "5 of 6 models failed" in done.out
    for name, message in failing.items():
        assert f"failed  {name}: Vision model {name!r} could not be loaded: {message}" in done.out


@pytest.mark.parametrize(
    "asked, message",
    [
        ("lab/nothing", "has no dataset lab/nothing, or it is private"),
        ("lab/closed", "lab/closed is gated, and you are not logged in. Accept the terms of its owners at"),
        ("lab/languages --subset v2", "lab/languages has no revision 'v2'; it has main."),
        ("lab/languages", "needs a configuration: name one by --config, of en, de."),
        ("lab/languages --config fr", "has no configuration 'fr': name one by --config, of en, de."),
    ],
)
def test_each_failure_of_a_data_set_is_told(hub, online, asked, message):
    hub.put("datasets", "lab/languages", two_languages())
    hub.put("datasets", "lab/closed", two_languages(), gated=True)
    done = online.run(f"extract --dataset {asked} --model lab/llama")
    assert done.status == 2 and message in done.err


def test_a_download_that_was_killed_goes_on(hub, home, online, commands):
    """Of a model in two files, the first has arrived when the process is killed: it is not fetched again."""
    files = language_model(seed=7, shards=2)
    first, second = sorted(name for name in files if name.endswith(".safetensors"))
    hub.put("models", "lab/large", files)
    hub.faults["lab--large", second] = "stuck"
    line = f"{EMOJI} --modality language --model lab/large --output-dir killed"
    killed = commands(hub.endpoint)
    killed.start(line)
    assert hub.begun.wait(60)
    snapshots = home / "hub" / "models--lab--large" / "snapshots"
    ends = time.monotonic() + 30
    while not list(snapshots.glob(f"*/{first}")) and time.monotonic() < ends:
        time.sleep(0.05)
    killed.end()
    del hub.faults["lab--large", second]
    before = len(hub.log)
    assert online.run(line).status == 0
    fetched = [asked.path for asked in hub.log[before:] if asked.method == "GET" and "large" in asked.path]
    assert [path.rsplit("/", 1)[1] for path in fetched if "cdn" in path] == [second]
    assert not [path for path in fetched if path.endswith(("/config.json", "/tokenizer.json"))]
