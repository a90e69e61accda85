"""Which training step a checkpoint is of, read from its revision or label."""

import re

from .provenance import ModelRecord

_STEP = re.compile(r"(?<![A-Za-z])(?:steps?|checkpoint|ckpt)[-_= ]?(\d+(?:\.\d+)?)([kKmM]?)(?![A-Za-z0-9])")
_FACTOR = {"": 1, "k": 10**3, "m": 10**6}


def step_of(model: ModelRecord) -> float | None:
    """The step that a model's record has, or that its revision or label has: `step1000`, `checkpoint-10`, `step_20k`.

    None where there is none, or a text has several.
    """
    told = model.recorded.get("step")
    if isinstance(told, int | float) and not isinstance(told, bool):
        return float(told)
    for text in (str(model.spec.get("revision") or ""), model.label.rpartition("@")[2], model.label):
        found = {float(number) * _FACTOR[unit.lower()] for number, unit in _STEP.findall(text)}
        if len(found) == 1:
            return found.pop()
    return None


def without_step(label: str) -> str:
    """A label without the checkpoint: what all checkpoints of one model are called."""
    bare = re.sub(r"(?<=\S)@\S+", "", label)
    return bare if bare != label else re.sub(rf"[\W_]*{_STEP.pattern}\S*", "", label)
