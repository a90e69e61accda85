"""Summary of what an extraction would read and write, before any model is loaded."""

from collections.abc import Sequence

from prh_jax.stores.preview import preview_lines
from prh_jax.stores.target import check_target

from ..datasets.broken import leave_out_broken
from ..datasets.preview import preview
from ..datasets.samples import Dataset
from .existing import already_complete, candidates
from .run import check_folder, check_samples, error_text, modality_of
from .settings import Settings, Wanted


def dry_run(models: Sequence[Wanted], data: Dataset, settings: Settings, *, color: bool = False) -> tuple[str, bool]:
    """Summary of an extraction: the data as read, and where the store of each model would be. No model is loaded.

    Returns
    -------
    text, fine
        The text to print, and whether no model is refused yet.
    """
    lines: list[str] = []
    shown: dict[str, Dataset] = {}
    models_of: dict[str, list[str]] = {}
    fine = True
    for model in models:
        name = model.label
        try:
            check_folder(model.source)
            kind = model.modality or modality_of(model.source)
            if kind not in shown:
                shown[kind] = (
                    leave_out_broken(data, kind, settings.caption_index) if settings.on_error == "skip" else data
                )
                check_samples(shown[kind], kind, settings)
            models_of.setdefault(kind, []).append(f"{name}: {_state_of(model, kind, shown[kind], settings)}")
        except Exception as error:
            fine = False
            models_of.setdefault("refused", []).append(f"{name}: {error_text(error)}")
    for kind, models_here in models_of.items():
        lines.append(kind)
        if kind in shown:
            read = preview(shown[kind], kind, settings.caption_index)
            lines += [f"  {line}" for line in preview_lines(read, color=color)]
        lines += [f"  {line}" for line in models_here]
    return "\n".join(lines), fine


def _state_of(model: Wanted, modality: str, data: Dataset, settings: Settings) -> str:
    """Whether a model's store is complete, begun or to be made, and where."""
    settings = model.settings(settings)
    places = candidates(model.called, modality, data, settings)
    for place in places:
        check_target(place)
    done = already_complete(model.source, modality, data, settings, called=model.name)
    if done:
        return f"complete at {done}"
    begun = [place for place in places if place.exists()]
    if begun:
        return f"{begun[0]} is there, of other settings or unfinished"
    return "to be made at " + " or ".join(map(str, places))
