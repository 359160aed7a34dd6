"""Verbs about anybody's checkpoints: evaluate, fetch-weights."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trm_repro.cli.common import Verbs


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    parser = verbs.add_parser(
        "evaluate",
        help="score checkpoints on a dataset",
        description="Scores checkpoints on a dataset's test split: each alone and, with several, their common vote. "
        "Several processes: torchrun --nproc-per-node N … -m trm_repro evaluate …",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--checkpoint", nargs="+", metavar="PATH_OR_HF_ID", help="step_N files, or [hf://]USER/REPO/FILE[@REVISION]"
    )
    source.add_argument(
        "--predictions", nargs="+", type=Path, metavar="FILE", help="score saved predictions.npz again, without a model"
    )
    source.add_argument(
        "--run",
        action="store_true",
        help="the final checkpoint of the run in force, on its dataset, into artifacts/RUN_NAME/evaluation, where its report "
        "finds it",
    )
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="needed without --run")
    parser.add_argument("--output-dir", type=Path, help="(default: evaluation)")
    parser.add_argument("--one-batch", action="store_true", help="the first batch only")
    parser.add_argument("--save-outputs", action="store_true", help="keep predictions.npz")
    parser.add_argument(
        "--by-step",
        action="store_true",
        help="what the answers of each supervision step score, alone and pooled; keeps them in memory, a byte a token and "
        "step (14,472 bytes an ARC example for 16 steps)",
    )
    parser.add_argument(
        "--halt-max-steps", type=int, metavar="N", help="supervision steps (default: as many as in training at most)"
    )
    parser.add_argument("--batch-size", type=int, default=128, help="grids at a time, in all (default: %(default)s)")
    parser.add_argument("--max-augmentations", type=int, metavar="N", help="each task's original and N augmentations")
    parser.add_argument("--attempts", type=int, default=2, help="answers in a submission (default: %(default)s)")
    parser.add_argument(
        "--arch",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="fail unless the checkpoint was trained with it",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the all_config.yaml, if not beside the checkpoint")
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), help="(default: cuda where there is one, else cpu)")
    parser.add_argument(
        "--probe-cycles",
        action="store_true",
        help="score nothing: find out with which cycles and puzzle slots the weights were trained, from a small sample of "
        "the dataset's training pairs (exit 1: not as configured; 3: it cannot be decided)",
    )
    parser.add_argument("--sample", type=int, default=64, metavar="N", help="pairs of the probe (default: %(default)s)")
    parser.set_defaults(handler=_evaluate, extra="engine")
    parser = verbs.add_parser("fetch-weights", help="bring published weights here, and check them")
    parser.add_argument(
        "source",
        help="kaggle:owner/slug[/place], hf:owner/name[/place][@revision], or a path; :PART behind a file of several sets",
    )
    parser.add_argument("--output", type=Path, help="the folder to make; default: .repro/weights/NAME")
    parser.set_defaults(handler=_fetch)


def _interruptible(handler: Callable[[argparse.Namespace], int | None]) -> Callable[[argparse.Namespace], int | None]:
    """A verb of the engine, perhaps of one of torchrun's processes, that ends on Ctrl-C with one message of them all."""

    def handle(arguments: argparse.Namespace) -> int | None:
        from trm_repro import interrupt
        from trm_repro.errors import Interrupted

        try:
            with interrupt.explained(lambda: ("interrupted", "nothing was written; the same command starts again")):
                return handler(arguments)
        except Interrupted as error:
            if interrupt.leads():
                raise
            return error.exit_code

    return handle


@_interruptible
def _evaluate(arguments: argparse.Namespace) -> int | None:
    from trm_repro.engine import scorecard
    from trm_repro.engine.world import join
    from trm_repro.errors import UsageError

    if arguments.run:
        _of_the_run(arguments)
    if not arguments.dataset:
        raise UsageError("--dataset DIR is missing", hint="the folder that the checkpoint was trained on")
    request = scorecard.Request(
        dataset=arguments.dataset,
        output=arguments.output_dir or Path("evaluation"),
        batch_size=arguments.batch_size,
        one_batch=arguments.one_batch,
        save_outputs=arguments.save_outputs,
        submission_k=arguments.attempts,
        max_augmentations=arguments.max_augmentations,
        by_step=arguments.by_step,
        halt_max_steps=arguments.halt_max_steps,
    )
    if arguments.predictions:
        print(scorecard.table(scorecard.rescore(request, arguments.predictions)))
        return None
    if arguments.probe_cycles:
        return _probe(arguments)
    _warn_of_cycles(arguments.checkpoint, arguments.config)
    expected = dict(pair.partition("=")[::2] for pair in arguments.arch)
    if not all(expected.values()):
        raise UsageError("--arch takes KEY=VALUE")
    with join(arguments.device) as world:
        report = scorecard.run(request, arguments.checkpoint, world, arch=expected, config=arguments.config)
        if world.leads:
            print(scorecard.table(report))
    return None


def _warn_of_cycles(names: list[str], config: Path | None) -> None:
    """Says, before a checkpoint is loaded, that its configuration has no cycles, or others than it was trained with."""
    import os

    from trm_repro.errors import ReproError
    from trm_repro.files import read_yaml
    from trm_repro.recipes.checkpoints import L_CYCLES as DEFAULT
    from trm_repro.recipes.checkpoints import base_of, by_place, warning
    from trm_repro.weights.find import find_in
    from trm_repro.weights.state import UNSEEN

    for name in names if os.environ.get("RANK", "0") == "0" else ():
        try:
            path = config or find_in(Path(name))[1]
            found: Any = read_yaml(path) if path else None
            arch, base = dict(found["arch"]), str(found.get("load_checkpoint") or "")
        except (ReproError, OSError, KeyError, TypeError, ValueError, AttributeError):
            continue  # what is wrong with it is said by whoever loads it
        L_cycles = arch.get("L_cycles", DEFAULT)
        own = by_place(name)
        known = own or base_of(base)
        if known and known.L_cycles not in (0, L_cycles):
            computes = f"{path} computes" if own else f"{name} was trained on from them, and computes"
            print(f"warning: {warning(known, computes, L_cycles)}", file=sys.stderr)
        if silent := [key for key in UNSEEN if key not in arch]:
            said = (
                f"{path} does not say {', '.join(silent)}, which the weights do not show: upstream's defaults are taken"
            )
            print(f"warning: {said}. `trm-repro evaluate --probe-cycles` tells cycles and slots", file=sys.stderr)


def _of_the_run(arguments: argparse.Namespace) -> None:
    """Fills in what ``--run`` means."""
    from trm_repro.cli.common import locate, this_run
    from trm_repro.errors import MissingPrerequisite
    from trm_repro.files import read_bytes
    from trm_repro.provenance.schema import FILE, parse_manifest
    from trm_repro.runs.evaluations import FOLDER

    artifacts = this_run().artifacts
    if not (artifacts / FILE).is_file():
        raise MissingPrerequisite(
            f"{artifacts / FILE} is not there: the run has not finished step 6",
            hint="name a checkpoint: --checkpoint FILE --dataset DIR",
        )
    outputs = parse_manifest(read_bytes(artifacts / FILE))["outputs"]
    paths = {entry["role"]: locate(entry["path"]) for entry in outputs}
    if not {"final-checkpoint", "identifiers"} <= set(paths):
        raise MissingPrerequisite(f"{artifacts / FILE} names no checkpoint, or no dataset")
    arguments.checkpoint = [str(paths["final-checkpoint"])]
    arguments.dataset = arguments.dataset or paths["identifiers"].parent
    arguments.output_dir = arguments.output_dir or artifacts / FOLDER


def _probe(arguments: argparse.Namespace) -> int:
    from trm_repro.engine.config import read_arch
    from trm_repro.engine.probe import probe
    from trm_repro.engine.scorecard import locate
    from trm_repro.engine.world import join

    codes = []
    with join(arguments.device) as world:
        for name in arguments.checkpoint:
            path, beside = locate(name, configured=True)
            config = arguments.config or beside
            arch = read_arch(config) if config else None
            found = probe(path, arch, arguments.dataset, world.device, pairs=arguments.sample)
            print(
                f"{name}{'' if arch else ': no configuration; heads of 64 are assumed, as in all that is published'}\n{found}"
            )
            codes.append(found.exit_code)
    return max(codes)


def _fetch(arguments: argparse.Namespace) -> None:
    from trm_repro.errors import printable
    from trm_repro.publish.fetch import fetch

    fetched = fetch(arguments.source, arguments.output)
    for note in fetched.notes:
        print(f"note: {printable(note)}", file=sys.stderr)
    print(fetched.checkpoint)
