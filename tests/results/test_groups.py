"""Groups of models: arithmetic on small tables, every arrangement by brute force, and what chance gives."""

import itertools
import json

import numpy as np
import pytest
from made_results import calibrated, edited, made_result
from scipy import stats

from prh_jax import compare_groups, group_means
from prh_jax.cli.main import main
from prh_jax.null.model_orders import label_orders

NAMES = ("a1", "a2", "b1", "b2")
GROUPS = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}
TABLE = np.array([[9, 8, 1, 2], [8, 9, 3, 4], [1, 3, 9, 6], [2, 4, 6, 9]], float)
"""Within: 8 and 6. Between: 1, 2, 3, 4."""


def study(table, names=NAMES, others=None, *, symmetric=True, larger=True):
    table = np.asarray(table)
    result = made_result(dict.fromkeys(names, 1), dict.fromkeys(others or names, 1), score=lambda _, i, j: table[i, j])
    with edited(result) as protocol:
        protocol["metrics"]["cka"] |= {"symmetric": symmetric, "larger_is_closer": larger}
    return result


def test_means_within_and_between_by_arithmetic():
    found = compare_groups(study(TABLE), GROUPS)
    assert (found.within, found.between, found.difference) == (7, 2.5, 4.5)
    pairs = found.table["pairs"].sel(group="all")
    assert pairs.sel(part="within") == 2 and pairs.sel(part="between") == 4
    assert found.table["mean"].sel(group="a").values.tolist() == [8, 2.5, 5.5]
    assert found.exact and found.orders == 6 and found.p == pytest.approx(2 / 6)
    assert "mean 7.0000 within groups (2 pairs), 2.5000 between groups (4 pairs)" in found.finding
    assert "p = 0.33 (all 6 arrangements of 4 models)" in found.finding and "Left out" not in found.finding
    assert " ".join(repr(found).split()) == found.finding and max(map(len, repr(found).split("\n"))) <= 88
    assert found.to_dataframe().loc["b", ("within", "mean")] == 6


def test_an_asymmetric_metric_has_both_directions():
    table = np.array(TABLE)
    table[0, 1], table[0, 2] = 4, 9
    found = compare_groups(study(table, symmetric=False), GROUPS)
    assert found.within == (4 + 8 + 6 + 6) / 4 and found.between == (9 + 2 + 3 + 4 + 1 + 3 + 2 + 4) / 8
    cells = group_means(study(table, symmetric=False), GROUPS)
    assert cells["mean"].values.tolist() == [[6, 4.5], [2.5, 6]] and cells["pairs"].values.tolist() == [[2, 4], [4, 2]]


def test_two_sides_permute_y_against_x():
    """Two models of x, three of y: 3 arrangements of y's groups, each by hand."""
    table = np.array([[5, 4, 1], [2, 1, 4]])
    groups = {"x1": "a", "x2": "b", "y1": "a", "y2": "a", "y3": "b"}
    result = study(table, ("x1", "x2"), ("y1", "y2", "y3"))
    found = compare_groups(result, groups)
    assert (found.within, found.between) == (pytest.approx((5 + 4 + 4) / 3), pytest.approx((1 + 2 + 1) / 3))
    # b at y1: within 4, 1, 2; b at y2: 5, 1, 1
    assert found.exact and found.orders == 3 and found.p == pytest.approx(1 / 3)
    assert group_means(result, groups)["mean"].values.tolist() == [[4.5, 1], [1.5, 4]]


@pytest.mark.parametrize("symmetric", [True, False])
def test_p_is_that_of_every_permutation(symmetric):
    """Three groups of 3, 2 and 2 models; 5040 permutations of the labels, of which 210 differ."""
    rng = np.random.default_rng(2)
    names, labels = [f"m{i}" for i in range(7)], list("aaabbcc")
    table = np.float32(rng.normal(size=(7, 7)) + 0.7 * np.equal.outer(labels, labels)).astype(float)
    table = (table + table.T) / 2 if symmetric else table
    apart = np.triu(np.ones((7, 7), bool), 1) if symmetric else ~np.eye(7, dtype=bool)

    def difference(order):
        own = np.equal.outer(np.array(labels)[list(order)], np.array(labels)[list(order)])
        return table[own & apart].mean() - table[~own & apart].mean()

    every = np.array([difference(order) for order in itertools.permutations(range(7))])
    found = compare_groups(study(table, names, symmetric=symmetric), dict(zip(names, labels, strict=True)))
    assert found.exact and found.orders == 210 and found.p == pytest.approx((every >= every[0] - 1e-6).mean())
    drawn = compare_groups(study(table, names, symmetric=symmetric), dict(zip(names, labels, strict=True)), orders=99)
    assert not drawn.exact and drawn.orders == 99 and (drawn.p * 100) % 1 == pytest.approx(0, abs=1e-9)
    assert drawn.p == pytest.approx(found.p, abs=0.2)


def test_a_distance_is_closer_where_it_is_smaller():
    closer, farther = study(-TABLE, larger=False), study(TABLE, larger=False)
    assert compare_groups(closer, GROUPS).difference == -4.5
    assert compare_groups(closer, GROUPS).p == pytest.approx(1 / 3) and compare_groups(farther, GROUPS).p == 1


def test_calibrated_scores_are_larger_if_closer():
    result = calibrated(study(1 - TABLE / 10, larger=False), lambda *_: 0.1)
    table = result.calibration.dataset["calibrated"].values[0]
    found = compare_groups(result, GROUPS, values="calibrated")
    assert found.within == pytest.approx((table[0, 1] + table[2, 3]) / 2)
    assert found.p == 1, "the largest calibrated scores are between the groups"
    with pytest.raises(ValueError, match="'score' or 'calibrated'"):
        compare_groups(result, GROUPS, values="p")


def test_pairs_without_a_score_are_left_out_and_counted():
    table = np.array(TABLE)
    table[0, 2] = table[2, 0] = np.nan
    found = compare_groups(study(table), GROUPS)
    assert found.between == 3 and found.unknown == 1 and "Left out: 1 pairs without a score" in found.finding
    assert group_means(study(table), GROUPS).attrs["unknown"] == 1
    one_order = np.array(TABLE)
    one_order[0, 2] = np.nan
    assert compare_groups(study(one_order), GROUPS).between == 2.5


def test_groups_are_given_as_families_are():
    result = study(TABLE).assign(family=lambda model: model.label[0], size=[1, 2, 1, 2])
    assert compare_groups(result).within == 7 and compare_groups(result, "size").within == 2.5
    found = compare_groups(result, {"a1": "a", "a2": "a", "b1": "b"})
    assert found.left_out == ("b2",) and found.between == 2 and "models without a group (b2)" in found.finding
    for groups, words in (
        ({"a3": "a"}, "no model 'a3'"),
        ("colour", "No model has a group 'colour'"),
        (dict.fromkeys(NAMES, "a"), "No pair of two models of different groups"),
        (dict(zip(NAMES, NAMES, strict=True)), "No pair of two models of one group"),
    ):
        with pytest.raises(ValueError, match=words):
            compare_groups(result, groups)
    with pytest.raises(ValueError, match="may not be called 'all'"):
        compare_groups(result, GROUPS | {"a1": "all", "a2": "all"})
    with pytest.raises(ValueError, match="as a model of x, and in 'b' as one of y"):
        compare_groups(result.assign(kind_x="a", kind_y="b"), "kind")


def test_show_prints_them_and_takes_a_file_of_families(tmp_path, capsys):
    path, file = str(tmp_path / "r.zarr"), tmp_path / "models.csv"
    study(TABLE).assign(kind=list("uuvv")).save(path)
    file.write_text("model,family\na1,a\na2,a\nb1,b\nz9,z\n")
    assert main(["show", path, "--family", "kind"]) == 0
    text = capsys.readouterr().out
    assert "mean 7.0000 within groups (2 pairs)" in text and "u   8.0000" in text
    assert main(["show", path, "--family", str(file), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["groups"]["cka"]
    assert found["left_out"] == ["b2"] and found["groups"]["all"]["between"]["mean"] == 2
    assert found["groups"]["b"]["within"]["mean"] is None
    assert main(["show", path, "--family", "colour"]) == 2 and "No model has a group" in capsys.readouterr().err


def test_cells_of_seeds_by_arithmetic():
    names = ("a1", "a2", "a3", "b1", "b2")
    table = np.zeros((5, 5))
    for (i, j), value in {(0, 1): 3, (0, 2): 6, (1, 2): 9}.items():
        table[i, j] = table[j, i] = value
    table[:3, 3:] = [[1, 3], [5, 7], [3, 5]]
    table[3:, :3] = table[:3, 3:].T
    cells = group_means(study(table, names), {name: name[0] for name in names})
    own, across = cells.sel(group_x="a", group_y="a"), cells.sel(group_x="a", group_y="b")
    assert [own[name].item() for name in ("mean", "sd", "least", "greatest", "pairs")] == [6, 3, 3, 9, 3]
    # without one seed one pair is left: 9, 6, 3; (n - 1) / n times the squares around 6
    assert own["standard_error"].item() == pytest.approx(np.sqrt(2 / 3 * 18))
    assert own["high"].item() == pytest.approx(6 + stats.t.ppf(0.975, 2) * np.sqrt(12))
    # means of rows 2, 6, 4 (variance 4) and of columns 3, 5 (variance 2)
    rows, columns = 4 / 3, 2 / 2
    assert across["mean"] == 4 and across["standard_error"].item() == pytest.approx(np.sqrt(rows + columns))
    freedom = (rows + columns) ** 2 / (rows**2 / 2 + columns**2 / 1)
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(rows + columns)
    assert across["low"].item() == pytest.approx(4 - reach)
    assert across.equals(cells.sel(group_x="b", group_y="a").assign_coords(across.coords))
    assert np.isnan(cells["low"].sel(group_x="b", group_y="b"))


def test_means_over_groups_have_the_variance_of_their_models():
    """Scores that are sums of their models' parts: each mean is a sum of means of parts, whose variance is known."""
    rng = np.random.default_rng(3)
    labels, parts = np.array(list("aaabbbbccd")), np.float32(rng.normal(size=10))
    names = [f"m{i}" for i in range(10)]
    result = study(parts[:, None] + parts, names).sel(model_x=slice(0, 7), model_y=slice(0, 7))
    table = compare_groups(result, dict(zip(names[:7], labels[:7].tolist(), strict=True))).table.sel(group="all")
    error = np.array([parts[labels == name].var(ddof=1) / (labels == name).sum() for name in "ab"])
    weights = {"within": np.array([2 * 3, 2 * 6]) / 9, "between": np.ones(2)}
    weights["difference"] = weights["within"] - weights["between"]
    for part, weight in weights.items():
        found, variances = table.sel(part=part), weight**2 * error
        assert found["standard_error"].item() == pytest.approx(np.sqrt(variances.sum()), rel=1e-4), part
        freedom = variances.sum() ** 2 / (variances[0] ** 2 / 2 + variances[1] ** 2 / 3)
        reach = stats.t.ppf(0.975, freedom) * np.sqrt(variances.sum())
        assert found["high"].item() - found["mean"].item() == pytest.approx(reach, rel=1e-4), part
    every = compare_groups(study(parts[:, None] + parts, names), dict(zip(names, labels.tolist(), strict=True))).table
    found = every.sel(part="between", group="d")  # one model of d, fixed; 3, 4 and 2 others
    error = [parts[labels == name].var(ddof=1) * (labels == name).sum() for name in "abc"]
    assert found["standard_error"].item() == pytest.approx(np.sqrt(sum(error)) / 9, rel=1e-4)


def test_one_pair_within_a_group_has_no_interval():
    """Nothing is left of it without either model."""
    table = compare_groups(study(TABLE), GROUPS).table
    assert np.isnan(table["low"].sel(part=["within", "difference"])).all()
    assert np.isfinite(table["low"].sel(part="between")).all()


def made_seeds(rng, sizes, own, noise):
    """Scores of pairs of models, their own parts and noise, symmetric; the groups' codes."""
    codes = np.repeat(np.arange(len(sizes)), sizes)
    part, noises = own * rng.normal(size=len(codes)), np.triu(noise * rng.normal(size=(len(codes),) * 2), 1)
    return part[:, None] + part + noises + noises.T, codes


def test_p_is_uniform_without_groups():
    """Models that differ in how close they are to all others: a test over pairs would reject far too often."""
    rng = np.random.default_rng(0)
    names, labels = [f"m{i}" for i in range(8)], dict(zip([f"m{i}" for i in range(8)], "aaaabbbb", strict=True))
    found = np.array(
        [compare_groups(study(made_seeds(rng, [8], 1, 0.5)[0], names), labels, orders=99).p for _ in range(60)]
    )
    assert found.min() >= 1 / 70
    for level in (0.1, 0.3):
        rejected, (low, high) = (found <= level).sum(), stats.binom.interval(0.999, len(found), level)
        assert low <= rejected <= high, (level, rejected)


@pytest.mark.slow
@pytest.mark.parametrize("sizes, own, noise", [((3, 5), 1, 0), ((3, 3, 3), 1, 1), ((5, 5), 0, 1)], ids=str)
def test_coverage_of_intervals_over_seeds(sizes, own, noise):
    """Of each cell and of the means over all, nominal 95 %: at least 92.5 % of 400 sets of models."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        table, codes = made_seeds(rng, sizes, own, noise)
        names = [f"m{i}" for i in range(len(codes))]
        groups = {name: str(code) for name, code in zip(names, codes, strict=True)}
        made = group_means(study(table, names), groups), compare_groups(study(table, names), groups, orders=1).table
        covered.append(np.concatenate([((t["low"] <= 0) & (t["high"] >= 0)).values.ravel() for t in made]))
    assert np.mean(covered, axis=0).min() > 0.925, np.mean(covered, axis=0)


def test_arrangements_are_all_and_each_once():
    codes = np.array([2, 0, 1, 0, 2])
    found, exact = label_orders(codes, 29, 0)
    assert exact and found[0].tolist() == codes.tolist()
    assert sorted(map(tuple, found)) == sorted(set(itertools.permutations(codes.tolist())))
    drawn, exact = label_orders(codes, 28, 0)
    assert not exact and len(drawn) == 29 and (np.sort(drawn, axis=1) == np.sort(codes)).all()
