"""Runs `prh` commands one after another in one process: a line in, what came of it a line out.

A line is a JSON list of the command's arguments and the variables of its environment.
"""

import contextlib
import io
import json
import os
import sys

import torch

from prh_jax.cli.main import main

torch.set_num_threads(1)


def run(arguments, environment):
    """Exit status, standard output and standard error of a command."""
    out, err = io.StringIO(), io.StringIO()
    os.environ |= environment
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as stopped:
            status = stopped.code
    for name in environment:
        del os.environ[name]
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


for line in sys.stdin:
    print(json.dumps(run(*json.loads(line))), flush=True)
