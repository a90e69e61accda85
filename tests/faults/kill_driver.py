"""Kills commands at random moments, runs them again, and prints what came of it as JSON.

    python kill_driver.py FOLDER KILLS

Commands run in forks of this process, which has its imports done but has asked JAX for no device: each fork is a
process of its own, and starts in milliseconds.
"""

import gc
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

torch.set_num_threads(1)
import jax.numpy  # noqa: E402, F401
from forks import fork, wait  # noqa: E402

from extractors.datasets.loading import load  # noqa: E402
from extractors.models import language  # noqa: E402
from extractors.models.tiny import tiny_language_model  # noqa: E402
from faults.subjects import IDS, layers_of, make_store, result_contents, store_contents  # noqa: E402
from prh_jax import load_alignment  # noqa: E402
from prh_jax.cli.main import main  # noqa: E402
from prh_jax.study import align  # noqa: E402, F401


def line(text):
    return text.split()


def made(folder):
    """Stores, results, an array and a model: what commands work on."""
    for seed, name in enumerate("abc"):
        make_store(folder / f"{name}.zarr", seed, [5] * 30)
    for name in "bc":
        command = f"align --x {folder}/a.zarr --y {folder}/{name}.zarr --metric cka -o {folder}/{name}_result.zarr"
        assert wait(fork(main, line(f"{command} --null 40"), silent=(1, 2))) == 0
    np.savez(folder / "features.npz", *layers_of(3, [40] * 40), ids=np.array(IDS))
    tiny_language_model("llama", folder / "llama", load("emoji_1024").captions()[:200])
    language.load(str(folder / "llama"))


def jobs(folder):
    """For each command: its words, given a folder to write to; what it wrote; and what is there before."""
    study = f"--x {folder}/a.zarr --y {folder}/b.zarr --metric mutual_knn cka"
    who = "--model m --pool mean --modality language"

    def result(out):
        return result_contents(load_alignment(out / "out.zarr"))

    def store(out):
        return store_contents(next(out.rglob("[!.]*.zarr")))

    def calibrated(out):
        shutil.copytree(folder / "b_result.zarr", out / "out.zarr")
        shutil.rmtree(out / "out.zarr/calibration")

    def packed(out):
        return (out / "out.zip").read_bytes().hex()

    def nothing(out):
        return None

    return {
        "extract": (
            lambda out: (
                f"extract --dataset emoji_1024 --num-samples 600 --modality language --model {folder}/llama "
                f"--batch-size 32 --output-dir {out}"
            ),
            store,
            nothing,
        ),
        "align": (lambda out: f"align {study} -o {out}/out.zarr", result, nothing),
        "align and null": (lambda out: f"align {study} -o {out}/out.zarr --null 60", result, nothing),
        "calibrate": (lambda out: f"calibrate {out}/out.zarr --null 100", result, calibrated),
        "merge": (
            lambda out: f"merge {folder}/b_result.zarr {folder}/c_result.zarr -o {out}/out.zarr",
            result,
            nothing,
        ),
        "pack": (lambda out: f"pack {folder}/a.zarr -o {out}/out.zip", packed, nothing),
        "import": (lambda out: f"import {folder}/features.npz -o {out}/out.zarr {who}", store, nothing),
    }


def killed(words, contents, prepare, out, moment, expected):
    """Killed at a moment, then run again: (was it killed, what is wrong with what came of it, or nothing)."""
    out.mkdir()
    prepare(out)
    child = fork(main, line(words(out)), silent=(1, 2))
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    hit = wait(child) == -signal.SIGKILL
    status = wait(fork(main, line(words(out)), silent=(1, 2)))
    if status not in (0, 2):  # 2: it was killed too late, and what is there already is not overwritten
        return hit, f"the next run ended with {status}"
    try:
        if contents(out) != expected:
            return hit, "other contents"
    except Exception as error:
        return hit, f"{type(error).__name__}: {error}"
    left = [p.name for p in out.rglob("*") if "partial" in p.name or p.name.startswith(".")]
    shutil.rmtree(out)
    return hit, f"left {left}" if left else ""


def drive(folder, kills):
    made(folder)
    gc.freeze()
    clock, found = random.Random(0), []
    for name, (words, contents, prepare) in jobs(folder).items():
        for number in range(2):  # the first also compiles
            whole = folder / f"whole-{number}"
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir()
            prepare(whole)
            start = time.monotonic()
            status = wait(fork(main, line(words(whole)), silent=(1, 2)))
            seconds = time.monotonic() - start
            assert status == 0, f"{name}: {status}"
        expected, hits, tries = contents(whole), 0, 0
        while hits < kills and tries < 3 * kills:
            tries += 1
            out = folder / f"out-{len(found)}"
            moment = clock.uniform(0.3 if seconds > 1 else 0.0, 1.0) * seconds
            hit, problem = killed(words, contents, prepare, out, moment, expected)
            hits += hit
            if hit or problem:
                found.append([name, f"{moment:.3f} of {seconds:.3f} s", problem])
    return found


if __name__ == "__main__":
    print(json.dumps(drive(Path(sys.argv[1]), int(sys.argv[2]))))
