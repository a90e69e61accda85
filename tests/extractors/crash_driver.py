"""Runs `prh extract` in forks of one process that has its imports done, kills some, and prints what happened as JSON.

    python crash_driver.py FOLDER CHECKPOINT

Forks start in milliseconds, so that ten kills are affordable; each is a process of its own with one thread.
"""

import gc
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from forks import fork, wait

from extractors.datasets.loading import load

torch.set_num_threads(1)
from extractors.models import language  # noqa: E402
from prh_jax.cli.main import main  # noqa: E402
from prh_jax.stores.inspect import inspect_store  # noqa: E402

KILLS = 10


def extract(checkpoint, output, *extra):
    line = "extract --dataset emoji_1024 --num-samples 600 --modality language --batch-size 32 --output-dir"
    return main([*line.split(), str(output), "--model", checkpoint, *extra])


def intact(output):
    """0 where everything marked done in the store reads back, also while it is unfinished."""
    return 0 if all(inspect_store(path).intact for path in output.rglob("[!.]*.zarr")) else 1


def kill_at_random(folder, checkpoint, seconds):
    """Stores that were killed on their way, all completed in the end; how often, and if any was ever damaged."""
    clock, kills, damaged, outputs = random.Random(0), 0, 0, [folder / "killed-0"]
    while kills < KILLS:
        child = fork(extract, checkpoint, outputs[-1])
        time.sleep(clock.uniform(0.1, 0.6) * seconds)
        os.kill(child, signal.SIGKILL)
        if wait(child) == -signal.SIGKILL:
            kills += 1
            damaged += wait(fork(intact, outputs[-1])) != 0
        else:
            outputs.append(folder / f"killed-{len(outputs)}")
    statuses = [wait(fork(extract, checkpoint, output)) for output in outputs]
    return {"kills": kills, "damaged": damaged, "stores": len(outputs), "statuses": statuses}


def several(folder, checkpoint, count, *, killed=None, seconds=0.0):
    """The exit statuses of workers at once, one of them killed on request."""
    children = [
        fork(extract, checkpoint, folder, "--worker", f"{i}/{count}", "--share", "blocks") for i in range(count)
    ]
    if killed is not None:
        deadline = time.monotonic() + 30
        while not list(folder.rglob("done/zarr.json")) and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(children[killed], signal.SIGKILL)
    return [wait(child) for child in children]


def drive(folder, checkpoint):
    load("emoji_1024", num_samples=1)  # what these import lazily, every fork has too
    language.load(checkpoint)
    gc.freeze()  # or each fork's collector copies and walks all that was imported
    start = time.monotonic()
    found = {"whole": wait(fork(extract, checkpoint, folder / "whole"))}
    seconds = time.monotonic() - start
    found["killed"] = kill_at_random(folder, checkpoint, seconds)
    for count in (2, 4):
        found[f"workers-{count}"] = several(folder / f"workers-{count}", checkpoint, count)
    lamed = folder / "lamed"
    found["lamed"] = several(lamed, checkpoint, 4, killed=2)
    found["finish"] = wait(fork(main, ["finish", str(lamed)]))
    found["next"] = wait(fork(extract, checkpoint, lamed))
    found["seconds"] = seconds
    return found


if __name__ == "__main__":
    print(json.dumps(drive(Path(sys.argv[1]), sys.argv[2])))
