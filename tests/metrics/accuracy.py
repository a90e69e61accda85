"""Writes docs/accuracy.md: `cd tests && PYTHONPATH=.. python -m metrics.accuracy > ../docs/accuracy.md`."""

import sys

from .adversarial import LAYERS, METRIC_TEXTS, SLOW_TEXTS, measure, reason

HEAD = """# How accurate scores are

Features come as float32, and scores are computed in float32. On most layers that costs the last of seven digits. It
can cost all of them where features are of very unequal size: language models have a few dimensions that are
thousands of times as large as the others. prh_jax therefore does in float64, on the host, what float32 leaves in
doubt:

- **Neighbour lists.** Similarities come with bounds of their errors. Samples that these bounds do not tell apart
  are put in order in float64. Samples that are equally near stand in the order of their numbers.
- **Ranks of dissimilarities** (`rsa` by Spearman's or Kendall's correlation). Where rounding may have mixed up more
  than a few, all pairs are ranked in float64; equal dissimilarities get equal ranks.
- **Directions** (`cca` and the metrics like it, regression, whitened shapes). Where the strongest direction is
  thousands of times as strong as the others, or where it is in doubt how many there are, projectors are made in
  float64. How many directions a layer has is decided for float32 features: singular values below n times 1.2e-7 of
  the largest are rounding, and do not count.

This holds for `metric(x, y)` and for studies (`align`). Under `jax.jit` and `jax.vmap` nothing leaves the device,
and what is in doubt stays as float32 has it. Pass float64 arrays within `jax.enable_x64(True)` where that matters.

A score that is NaN comes with a warning that names the layer, the reason and what helps.

## The table

Each metric was called on a layer of 40 samples, 14 features (60 in the column "wider than samples") and, as the
other layer, ordinary features of the same samples. The score was compared with plain float64 code of the metric's
definition on the same float32 features; neighbours and ranks of that code are in the order of exact rational
arithmetic. An entry is a bound of the error: of the score, or of 1 where the score is smaller (for
`magnitude_difference` and distances without unit norm, of the size of the layers). No bound is above 1e-4:
`tests/metrics/test_adversarial.py` requires it.
"""


def entry(text, name):
    if reason(text, name):
        return "NaN"
    error = measure(text, name).error
    return next(
        words for bound, words in ((1e-5, "1e-5"), (1e-4, "1e-4"), (float("inf"), "above 1e-4")) if error <= bound
    )


def table(names):
    yield "| metric | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    for text in METRIC_TEXTS + SLOW_TEXTS:
        print(text, file=sys.stderr)
        yield f"| `{text}` | " + " | ".join(entry(text, name) for name in names) + " |"


def reasons():
    found = {}
    for text in METRIC_TEXTS + SLOW_TEXTS:
        for name in LAYERS:
            if reason(text, name):
                found.setdefault((name, reason(text, name)), []).append(f"`{text}`")
    for (name, why), texts in found.items():
        which = "all metrics" if len(texts) == len(METRIC_TEXTS + SLOW_TEXTS) else ", ".join(texts)
        yield f"- **{name}**, {which}: {why}."


def main():
    print(HEAD)
    print("\n".join(table(tuple(LAYERS))))
    print("\nNaN where no number is right, or none is known:\n")
    print("\n".join(reasons()))


if __name__ == "__main__":
    main()
