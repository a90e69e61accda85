"""Figures of results, drawn by matplotlib (the extra "plot").

Each function draws one figure and returns its Axes, but does not show them. `ax=` draws into existing axes, and
`figure.savefig` of the Axes saves a figure: `model_map(result, "cka").figure.savefig("cka.pdf")`. The exceptions are
`panels`, which shows a whole report in a notebook, and `short_name`.
"""

from .along import curve
from .base import short_name
from .controls import above_control
from .curves import depth_curve, null_histogram, sample_curve
from .dimension import dimension_curve
from .gallery_size import gallery_curve
from .group_points import groups
from .html_report import panels
from .imbalance import imbalance_plane
from .maps import heat_map, layer_map, metric_map, model_map
from .models import covariate_scatter, metric_scatter, model_space, model_tree
from .retrieval import recall_curve

__all__ = [
    "above_control",
    "covariate_scatter",
    "curve",
    "depth_curve",
    "dimension_curve",
    "gallery_curve",
    "groups",
    "heat_map",
    "imbalance_plane",
    "layer_map",
    "metric_map",
    "metric_scatter",
    "model_map",
    "model_space",
    "model_tree",
    "null_histogram",
    "panels",
    "recall_curve",
    "sample_curve",
    "short_name",
]
