"""The common sequence of a study: open, resume or start, score, finish, calibrate, clean up."""

import dataclasses

from ..errors import MismatchError
from ..null.settings import Null
from ..results.alignment import Alignment, load_alignment
from ..results.provenance import Provenance
from ..results.storage import is_running
from ..runtime.progress import report_progress
from ..runtime.workers import ALONE, Worker
from ..stores.location import Place
from .null import calibrate_study, is_calibrated
from .study import Study


@dataclasses.dataclass(frozen=True)
class Execution:
    """By whom a study is run: this process, for its own share; of processes that work together, one leads."""

    worker: Worker = ALONE
    leads: bool = True
    """Whether this process begins the result, finishes it and cleans up."""

    @property
    def alone(self) -> bool:
        """Whether no other process scores tiles of the same result."""
        return self.worker.alone

    def agree(self, there: bool) -> bool:
        """Whether the leading process finds a finished result."""
        return there

    def meet(self) -> None:
        """Wait for the other processes, where there are some that work in step."""


def run_study(
    study: Study,
    path: Place | None,
    *,
    execution: Execution | None = None,
    overwrite: bool = False,
    null: Null | None = None,
    overwrite_null: bool = False,
    quiet: bool | None,
) -> Alignment | None:
    """Score what a result lacks, and calibrate it where a null is asked for; None where tiles are left to others.

    A finished result of the same study at `path` is read, an unfinished one is resumed. StoreError where another
    study is there.
    """
    execution = execution or Execution()
    if execution.agree(path is not None and path.exists() and not overwrite and not is_running(path)):
        assert path is not None
        calibration = execution.alone and not overwrite_null
        alignment = finished_result(path, study.provenance, quiet, calibration=calibration)
        if not execution.alone:  # the sketches may be in use: whoever scored the last tile removes them
            return alignment
    else:
        grid = study.grid(path, overwrite=overwrite) if execution.leads else None
        execution.meet()
        grid = grid or study.grid(path)
        if grid.finished:
            left = grid.total - grid.finished
            report_progress(f"{path}: going on, {left} of {grid.total} tiles are left.", quiet)
        study.score(grid, worker=execution.worker, quiet=quiet)
        execution.meet()
        finished = None
        if execution.leads:
            if not execution.alone:
                grid.reload()
            if grid.finished < grid.total:
                left = f"{grid.total - grid.finished} of {grid.total} tiles are left to others"
                report_progress(f"{path}: this worker is done; {left}.", quiet)
                return None
            finished = grid.finish()
        execution.meet()
        alignment = finished or load_alignment(path)  # type: ignore[arg-type]  # who does not lead has a path
    if null is not None and not is_calibrated(alignment, null):
        alignment.calibration = calibrate_study(study, alignment, null, path=path, quiet=quiet)
    if execution.leads:
        study.clean_up()
    return alignment


def finished_result(path: Place, provenance: Provenance, quiet: bool | None, *, calibration: bool) -> Alignment:
    """The result at `path`, if it is the one asked for."""
    alignment = load_alignment(path, calibration=calibration)
    if not provenance.same_study(alignment.provenance):
        raise MismatchError(
            f"{path} holds a result made from other features or settings. Name another output, or overwrite it with "
            "--force-remake (overwrite=True)."
        )
    report_progress(f"{path} already holds this result.", quiet)
    return alignment
