"""The rehearsals: which one fits a machine, and which of upstream's has succeeded here.

Each is a recipe. Those of upstream itself are dress rehearsals of the real run: each goes through the same eight steps with
the pinned program, and they differ in what computes and in the packages around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trm_repro.digests import digest_file
from trm_repro.errors import UsageError
from trm_repro.recipes.bases import top_level
from trm_repro.runs.layout import Run
from trm_repro.runs.stamps import read_stamp

OURS = "arc2-rehearsal"
GPU, LOCKED, CPU = "arc2-rehearsal-upstream", "arc2-rehearsal-upstream-cpu-locked", "arc2-rehearsal-upstream-cpu"
# what a dress rehearsal proves more of stands first
DRESS = {
    GPU: "on this machine's GPUs, with these packages",
    LOCKED: "on a CPU, with these packages",
    CPU: "on a CPU, with the tool environment's packages",
}


def fitting(engine: str, light: str, *, gpus: bool) -> str:
    """The recipe of the rehearsal that was asked for.

    Args:
        engine: ``upstream``; empty or ``reference``: ours.
        light: ``0``: where a CPU computes upstream, the real run's packages, too.
        gpus: whether this machine has any.

    Raises:
        UsageError: another word.
    """
    if engine not in ("", "reference", "upstream"):
        raise UsageError(f"ENGINE is '{engine}'", hint="ENGINE=upstream, or leave it out for the reference engine")
    if light not in ("", "0", "1"):
        raise UsageError(f"LIGHT is '{light}'", hint="LIGHT=0: with the real run's packages")
    if engine != "upstream":
        return OURS
    return GPU if gpus else LOCKED if light == "0" else CPU


def succeeded(environ: Mapping[str, str], locks: Sequence[Path]) -> str:
    """Which dress rehearsal succeeded here and when; empty if none did.

    One with the real run's packages counts only where those are the ones that this run will have.
    """
    for recipe, how in DRESS.items():
        path = Path("recipes", f"{recipe}.yaml")
        if not path.exists():
            continue
        run = Run(Path(), top_level(path, "run_name"), recipe, environ)
        stamp, listing = read_stamp(run.path("08-handoff")), run.environment_file(environ["TARGET_DATASET"], ".txt")
        if stamp is None or not listing.exists():
            continue
        same = [f"lock: {environ['ENV_LOCK']}", *(f"{digest_file(path).sha256}  {path}" for path in locks)]
        if recipe == CPU or set(same) <= set(listing.read_text().splitlines()):
            return f"{stamp.finished}, {how} ({recipe})"
    return ""
