"""`prh report`: families and covariates by name or from a file of the models."""

import json
import re

import pytest
from made_results import made_result

from prh_jax.cli.main import main

pytest.importorskip("plotly")


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = dict.fromkeys("abcd", 1)
    result = made_result(names, {"e": 1}, score=lambda m, i, j: i).assign(
        pool_x=list("uuvv"), size_x=[1, 10, 100, 1000]
    )
    result.save("r.zarr")


def content(*options):
    assert main(["report", "r.zarr", "--no-gallery", "--force-remake", *options]) == 0
    with open("report.html", encoding="utf-8") as file:
        return json.loads(re.search(r'<script id="content"[^>]*>(.*?)</script>', file.read(), re.S)[1])


def families(found):
    return [model["family"] for model in found["models"]["x"]]


def test_by_name(saved):
    found = content("--family", "pool", "--covariate", "bits_per_byte")
    assert families(found) == list("uuvv")
    assert [number["name"] for number in found["covariates"]] == ["bits_per_byte", "size"]
    assert [number["log"] for number in found["covariates"]] == [False, True]
    assert families(content()) == [None] * 4


def test_from_a_file(saved, tmp_path):
    (tmp_path / "models.csv").write_text("model,family,tokens\na,u,5\nb,v,6\nc,w,7.5\nd,u,\ne,z,\n", "utf-8")
    found = content("--family", "models.csv", "--covariate", "models.csv")
    assert families(found) == list("uvwu") and found["models"]["y"][0]["family"] == "z"
    assert [number["name"] for number in found["covariates"]] == ["tokens", "size", "bits_per_byte"]
    assert found["covariates"][0]["rho"] == pytest.approx({"cka": 1})


@pytest.mark.parametrize(
    "text, options, words",
    [
        ("model\na\n", "--family f.csv", "no column after that of the models"),
        ("model,one,two\na,u,v\n", "--family f.csv", "call the one that has the families 'family'"),
        ("model,family\na,u,v\n", "--family f.csv", "2 columns, but 3 in the line of 'a'"),
        ("model,family\na,u\n", "--family f.csv", "No family is given for model 'b'"),
        ("model,family\na,u\n", "--covariate f.csv", "no column of numbers"),
        ("", "--covariate nothing", "No model of this result has a number 'nothing'"),
        ("", "--family nothing", "No model has 'nothing'"),
    ],
)
def test_what_does_not_fit_is_said(saved, tmp_path, capsys, text, options, words):
    (tmp_path / "f.csv").write_text(text, "utf-8")
    assert main(["report", "r.zarr", "--no-gallery", *options.split()]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "report.html").exists()
