"""The README is run: its Python as one program, its commands in a shell's order, its table from the metrics."""

import re
import shlex
from pathlib import Path

import pytest

from prh_jax.cli import main
from prh_jax.metrics.describe import as_markdown

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_python_blocks_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks("python")
    assert len(code) >= 3
    scope = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), scope)
    assert 0 < float(scope["result"].scores("mutual_knn").sel(model_x="small", model_y="large")) < 1


def test_commands_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("prh ")]
    study = [line for line in lines if "minhuh/prh" in line]
    local = [line for line in lines if line not in study]
    assert len(study) == 3 and len(local) >= 4
    for line in local:
        assert main(shlex.split(line)[1:]) == 0, line
    for line in study:  # these need the hub: they parse, and end with an error that says so
        assert main(shlex.split(line)[1:]) == 2
        err = capsys.readouterr().err
        assert "could not be loaded" in err or "feature stores are missing" in err


def test_the_metric_table_is_current():
    table = README.split("<!-- metrics -->")[1].split("<!-- /metrics -->")[0].strip()
    assert table == as_markdown()


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for line in "".join(blocks("sh")).splitlines():
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE), line
    assert "make test" in (ROOT / ".ci" / "run").read_text()
