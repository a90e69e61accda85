"""README and pages are run: their Python as one program, their commands in a shell's order; tables from the metrics."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from prh_jax.cli.main import main
from prh_jax.metrics.describe import as_markdown
from prh_jax.metrics.registry import METRICS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = ("README.md", "docs/extraction.md", "docs/migrating.md", "docs/prh.md")
"""Those whose code is not run by the build of the documentation."""


def blocks(language, page="README.md"):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks("python", page)])
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {}
    for block in blocks("python", page):
        exec(compile(block, page, "exec"), scope)
    if page == "README.md":
        _readme_tells_the_truth(scope, tmp_path)


def _readme_tells_the_truth(scope, folder):
    """The numbers in its comments; models that share structure are beyond chance, the unrelated one is not."""
    x, y = scope["x"], scope["y"]
    for call, told in re.findall(r"^prh_jax\.(.+\))  # (0\.\d+)", README, re.MULTILINE):
        assert f"{float(eval(f'prh_jax.{call}', {'prh_jax': scope['prh_jax'], 'x': x, 'y': y})):.2f}" == told
    pairs = scope["result"].calibrated_pairs("mutual_knn")
    related = ["small", "base", "large"]
    p = pairs["p"].sel(model_x=related, model_y=related).values
    assert (p[~np.eye(3, dtype=bool)] == 1 / 201).all()  # no random pairing of 200 scores as high
    assert (pairs["q_bh"].sel(model_x="unrelated", model_y=related) > 0.05).all()
    assert (folder / "models.png").read_bytes().startswith(b"\x89PNG")


def test_the_readme_is_short_and_soon_at_a_score():
    lines = README.splitlines()
    assert len(lines) <= 130 and len(README.split()) <= 1300
    assert any(line.startswith("prh_jax.cka(x, y)") for line in lines[:40])


@pytest.mark.parametrize("page", [page for page in PAGES if blocks("sh", page)])
def test_commands_run(page, tmp_path, monkeypatch, capsys):
    pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks("sh", page) for line in block.splitlines() if line.startswith("prh ")]
    study = [line for line in lines if "minhuh/prh" in line]
    local = [
        line for line in lines if line not in study and line != "prh demo --quick"
    ]  # run in tests/cli/test_demo.py
    assert len(lines) >= 3
    for line in local:
        assert main(shlex.split(line)[1:]) == 0, line
    for line in study:  # these need the hub: they parse, and end with an error that says so
        assert main(shlex.split(line)[1:]) == 2
        err = capsys.readouterr().err
        assert "could not be loaded" in err or "feature stores are missing" in err


def test_the_metric_table_is_current():
    page = (ROOT / "docs" / "metric_table.md").read_text()
    table = page.split("<!-- metrics -->")[1].split("<!-- /metrics -->")[0].strip()
    assert table == as_markdown()
    assert all(f"{len(METRICS)} metrics" in text for text in (README, (ROOT / "docs" / "index.md").read_text()))


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for line in "".join(blocks("sh")).splitlines():
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE), line
    assert "make test" in (ROOT / ".ci" / "run").read_text()
