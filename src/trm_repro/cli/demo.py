"""Verbs for a first look: demo, a small TRM learns Sudoku; solve, tasks of one's own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.cli.common import known_recipes
from trm_repro.errors import ReproError
from trm_repro.notebook.presets import WHAT

if TYPE_CHECKING:
    from trm_repro.cli.common import Verbs

FOLDER = Path(".repro/demo")  # each demo makes its own in it anew


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    demo = verbs.add_parser(
        "demo",
        help="a small TRM learns Sudoku in a minute on a CPU, and shows how it answers",
        description="Draws Sudokus, trains a small TRM on some of them with the recipe sudoku-SIZExSIZE, and tests it on "
        "boards that it has not seen. It works in .repro/demo/RECIPE-SEED, which it makes anew. Exit 1 if fewer than 98 % "
        "of the 4 × 4 are solved.",
    )
    demo.add_argument("--size", type=int, choices=(4, 6), default=4, help="of a board (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="of boards, weights and batches (default: %(default)s)")
    demo.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cpu", help="(default: %(default)s)")
    demo.set_defaults(handler=_demo, extra="engine")
    solve = verbs.add_parser(
        "solve",
        help="answer ARC tasks of your own: weights are tuned on their examples, variants of them vote",
        description="Answers ARC tasks as the Kaggle notebook does: the weights are tuned on the tasks' examples, then "
        "variants of the tasks vote, until the time is over. Prints the attempts with their votes and confidence, and writes "
        "solution.png, solution.json and submission.json. TRM answers few tasks that its weights were not trained on.",
    )
    solve.add_argument("tasks", metavar="TASK.json", help="a task, or several, in any layout that `tasks info` reads")
    solve.add_argument("--weights", type=Path, required=True, metavar="BUNDLE", help="a bundle, or a training's folder")
    solve.add_argument("--minutes", type=float, default=10, help="for everything (default: %(default)s)")
    solve.add_argument(
        "--fine-tune",
        choices=WHAT,
        default="embeddings",
        help="what learns the examples: puzzle vectors, adapters too, all weights too, or nothing (default: %(default)s)",
    )
    solve.add_argument("--augmentations", type=int, default=1000, help="variants that vote (default: %(default)s)")
    solve.add_argument("--batch", type=int, help="grids at a time (default: 96 with CUDA, 16 with MPS, 8 on a CPU)")
    solve.add_argument("--out", type=Path, metavar="DIR", help="where the files go (default: solved/TASK)")
    solve.add_argument("--seed", type=int, default=0, help="of the fine-tuning (default: %(default)s)")
    solve.add_argument("--device", choices=("cpu", "cuda", "mps"), help="(default: cuda where there is one, else cpu)")
    solve.set_defaults(handler=_solve, extra="engine")


def _demo(arguments: argparse.Namespace) -> None:
    from trm_repro import engine  # noqa: F401  # what trains needs PyTorch: said before anything is done
    from trm_repro.demo import run
    from trm_repro.demo.picture import print_outcome

    recipe = run.recipe_of(known_recipes(), arguments.size)
    folder = FOLDER / f"{recipe.name}-{arguments.seed}"
    outcome = run.run(recipe, folder, seed=arguments.seed, device=arguments.device)
    print_outcome(outcome, sys.stdout)
    print(
        f"{folder}: demo.png, demo.gif, outcome.json, and the training in {recipe.checkpoint_folder(recipe.run_name)}"
    )
    wanted = run.LEAST.get(outcome.side, 0.0)
    if outcome.share < wanted:
        raise ReproError(
            f"{100 * outcome.share:.1f} % are solved, at least {100 * wanted:.0f} % should be",
            hint="another --seed; if that fails too, the engine does not learn here as it does elsewhere: report it",
        )


def _solve(arguments: argparse.Namespace) -> None:
    from trm_repro.notebook import own

    request = own.Request(
        tasks=arguments.tasks,
        weights=arguments.weights,
        minutes=arguments.minutes,
        tune=arguments.fine_tune,
        augmentations=arguments.augmentations,
        batch=arguments.batch,
        device=arguments.device,
        seed=arguments.seed,
    )
    solution = own.answer(request, say=lambda text: print(f"note: {text}", file=sys.stderr, flush=True))
    folder = arguments.out or Path("solved", Path(arguments.tasks).name.partition(".")[0] or "tasks")
    own.write(solution, folder)
    own.print_solution(solution, sys.stdout)
    print(f"{folder}: solution.png, solution.json, submission.json")
