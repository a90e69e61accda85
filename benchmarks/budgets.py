"""Does a study keep to the memory it was given? Measured in a process of its own, by what the kernel counts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from prh_jax import align
from prh_jax.runtime.memory import parse_bytes

from .machine import forget_peak, status_bytes
from .study import stores

X, Y = {"wide": (8192, 12), "llama": (4096, 33)}, {"vit": (1024, 24), "giant": (1536, 40)}


def measure(folder: Path, budgets: list[str], *, n: int, scale: float) -> list[dict[str, Any]]:
    """Peak bytes of a study of 45 x 64 layers, all metrics, beyond what the process held, for each budget."""
    rows = []
    for budget in budgets:
        command = [sys.executable, "-m", "benchmarks.budgets", str(folder), budget, str(n), str(scale)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
        if done.returncode:
            raise RuntimeError(f"The study with a budget of {budget} failed:\n{done.stderr}")
        rows.append({"budget": budget, "budget_bytes": parse_bytes(budget)} | json.loads(done.stdout.splitlines()[-1]))
    return rows


def _run(folder: Path, budget: str, n: int, scale: float) -> dict[str, Any]:
    sides = [stores(folder, side, n, "bfloat16", scale) for side in (X, Y)]
    align(*sides, memory=budget, progress=False)  # compiles: what the compiler takes is not the study's
    held = forget_peak()
    align(*sides, memory=budget, progress=False)
    return {"held_bytes": held, "peak_bytes": status_bytes("VmHWM") - held}


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = ["| budget | peak GiB | of the budget |", "|---|---|---|"]
    for row in rows:
        peak = row["peak_bytes"]
        lines.append(f"| {row['budget']} | {peak / 2**30:.2f} | {peak / row['budget_bytes']:.0%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(_run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))))
