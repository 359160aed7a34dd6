"""``trm-repro step …``: what the steps ask and let do. Each step asks once as it begins, and tells once as it ends."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.cli.begin import begin, environment_found
from trm_repro.cli.common import RECIPES, checked, knobs_and_defaults, locate, required, this_recipe, this_run, trm_dir
from trm_repro.cli.parse import add_json, print_json
from trm_repro.errors import InvariantBroken

if TYPE_CHECKING:
    from trm_repro.cli.common import Verbs


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    step = verbs.add_parser("step", help="what the shell steps call").add_subparsers(metavar="VERB", required=True)
    _register_begin_and_end(step)
    _register_acts(step)


def _register_begin_and_end(step: Verbs) -> None:
    first = step.add_parser("begin", help="'STEP: fresh', or all that the step needs, as shell assignments")
    first.add_argument("step")
    first.add_argument("--dry-run", action="store_true", help="nothing is looked at that an earlier step would make")
    first.add_argument("--force", action="store_true", help="fresh or not")
    first.set_defaults(handler=begin)
    fresh = step.add_parser("fresh", help="'STEP: fresh' for each step before the first that has to run")
    fresh.set_defaults(handler=_fresh)
    end = step.add_parser("end", help="stamp a step as done")
    end.add_argument("step")
    end.add_argument("--started", required=True)
    end.add_argument("--said", required=True)
    end.add_argument("--log", required=True)
    end.add_argument("--attempt", default="", help="the name of this attempt in the records")
    end.add_argument("--voucher", type=Path, help="write it for what was made here")
    end.add_argument("--means", default="", help="what was meant to be made")
    end.add_argument("--vouched", action="store_true", help="nothing was made: the voucher says how it was")
    end.add_argument("--outputs", nargs="*", type=Path, required=True, help="files and folders")
    end.set_defaults(handler=_end)


def _register_acts(step: Verbs) -> None:
    preflight = step.add_parser("preflight", help="1: what the run needs of this machine, and what is there")
    preflight.add_argument("--dry-run", action="store_true", help="no folder is tried out")
    preflight.set_defaults(handler=_preflight)
    environment = step.add_parser(
        "check-environment", help="3: write down what is in the training environment; what should not be, on stdout"
    )
    environment.add_argument("inventory", type=Path)
    environment.add_argument("locks", nargs="*", type=Path, help="what it has to hold, and nothing else")
    environment.set_defaults(handler=_check_environment)
    weights = step.add_parser("check-weights", help="4: the checkpoint that the training starts from")
    weights.add_argument("path", type=Path)
    weights.set_defaults(handler=_check_weights)
    dataset = step.add_parser(
        "check-dataset", help="4: check the dataset; what it holds, and what training on it means"
    )
    dataset.add_argument("folder", type=Path)
    dataset.add_argument("--digests", type=Path)
    dataset.set_defaults(handler=_check_dataset)
    train = step.add_parser("train", help="5: run a training command and stay beside it")
    train.add_argument("--repository", type=Path, required=True, help="this repository; the command runs where we are")
    train.add_argument(
        "--variable", action="append", default=[], metavar="NAME[=VALUE]", help="one that reaches it; no other does"
    )
    train.add_argument("words", nargs="+")
    train.set_defaults(handler=_train)
    warm = step.add_parser("warm-start", help="5: the last whole checkpoint of an unfinished training")
    warm.add_argument("folder", type=Path)
    warm.set_defaults(handler=_warm_start)
    prove = step.add_parser("prove", help="6: COMMANDS.txt, manifest, statement and verdict; knobs' defaults on stdin")
    prove.add_argument("--run-dir", type=Path, required=True, help="the checkpoint folder")
    prove.add_argument("--key", type=Path, help="sign the statement with this SSH key")
    prove.set_defaults(handler=_prove)
    handoff = step.add_parser("handoff", help="8: notebook, checklist, report, links")
    handoff.add_argument("--notebook-of", type=Path, metavar="BUNDLE")
    handoff.set_defaults(handler=_handoff)
    estimate = step.add_parser("estimate", help="make plan: how long the run will take here, and what it will cost")
    add_json(estimate)
    estimate.set_defaults(handler=_estimate)
    measure = step.add_parser("measure", help="make plan MEASURE=1: run a training command for a while, time its steps")
    measure.add_argument("--cwd", type=Path, default=Path(), help="where the command runs")
    measure.add_argument("--window", type=float, default=20, metavar="SECONDS", help="two of these must agree")
    measure.add_argument("--at-most", type=float, default=900, metavar="SECONDS")
    measure.add_argument("words", nargs="+")
    measure.set_defaults(handler=_measure)
    rehearsal = step.add_parser("rehearsal", help="make rehearse: the recipe of the rehearsal that fits this machine")
    rehearsal.add_argument("--engine", default="")
    rehearsal.add_argument("--light", default="")
    rehearsal.add_argument("--on-cpu", action="store_true", help="even where there are GPUs")
    rehearsal.set_defaults(handler=_rehearsal)
    crosscheck = step.add_parser("crosscheck", help="make crosscheck: what both engines computed, side by side")
    for option, said in (
        ("--rehearsed", "the checkpoint folder of upstream's rehearsal"),
        ("--upstream", "that of the training with which upstream went on from its first checkpoint"),
        ("--ours", "that of ours, from the same"),
        ("--dataset", "what upstream's builder wrote"),
        ("--built", "what ours wrote"),
        ("--output", "the JSON file to write"),
    ):
        crosscheck.add_argument(option, type=Path, required=True, help=said)
    crosscheck.set_defaults(handler=_crosscheck)
    summary = step.add_parser("summary", help="make rehearse: what a finished run did, and what to do next")
    summary.set_defaults(handler=_summary)
    sweep = step.add_parser("sweep", help="make sweep: recipes side by side")
    sweep.add_argument("what", choices=["recipes", "evaluate", "table"])
    sweep.add_argument("name")
    sweep.set_defaults(handler=_sweep)


def _fresh(arguments: argparse.Namespace) -> None:
    from trm_repro.runs.stamps import why_stale

    run = this_run()
    for step in run.steps:
        if why_stale(run, step):
            return
        print(f"{step}: fresh")


def _end(arguments: argparse.Namespace) -> None:
    from trm_repro.files import utc_now
    from trm_repro.runs import vouchers
    from trm_repro.runs.stamps import hashed, output_files, write_stamp

    run, step, path = this_run(), arguments.step, arguments.voucher
    files = output_files(step, arguments.outputs)
    if step == vouchers.TRAINING:
        files = [file for file in files if file.name not in vouchers.LATER]
    digests = hashed(run, files)
    started, finished = arguments.started, utc_now()
    if path:
        made = vouchers.vouched_digests(step, digests)
        if arguments.vouched:
            voucher = vouchers.take_over(run, path, arguments.attempt, made)
            if step == vouchers.TRAINING:
                started, finished = voucher.started, voucher.finished
        else:
            vouchers.vouch(run, path, step, means=arguments.means, started=started, finished=finished, digests=made)
    write_stamp(run, step, started=started, finished=finished, log=arguments.log, said=arguments.said, digests=digests)


def _preflight(arguments: argparse.Namespace) -> int:
    from trm_repro.machine.survey import survey
    from trm_repro.machine.words import lines, table

    recipe = this_recipe()
    found = lines(recipe, survey(recipe, os.environ, trying=not arguments.dry_run))
    print(table(found))
    return 3 if any(line.state == "problem" for line in found) else 0


def _check_environment(arguments: argparse.Namespace) -> None:
    from trm_repro.files import write_json
    from trm_repro.machine.locks import canonical, check_installed, read_versions
    from trm_repro.provenance.inventory import look_at, notes_of, shown, training_environment

    run = this_run()
    seen = look_at(training_environment(run), notes_of(run))
    said = f"{seen.files:,} files, {seen.bytes / 1e9:.1f} GB"
    if arguments.locks:
        locked: dict[str, str] = {}
        for path in arguments.locks:
            locked |= read_versions(path.read_text().splitlines())
        there = [entry for entry in seen.inventory["distributions"] if entry["name"] not in seen.editable]
        check_installed(locked, {canonical(entry["name"]): entry["version"] for entry in there})
        said += f"; {len(locked)} packages, all as locked"
    write_json(arguments.inventory, seen.inventory)
    print(said, file=sys.stderr)
    print(shown(seen.strays))


def _check_weights(arguments: argparse.Namespace) -> None:
    from zipfile import is_zipfile

    weights, path = this_recipe().weights, arguments.path
    assert weights is not None
    if not path.is_file():
        raise InvariantBroken(
            f"{weights.path}: expected the checkpoint that the training starts from, found no such file",
            hint="its download stands above; run the step again, or put the file there",
        )
    bytes = path.stat().st_size
    wrong = None
    if bytes != (weights.bytes or bytes):
        wrong = f"expected {weights.bytes} bytes, found {bytes}"
    elif not is_zipfile(path):
        wrong = f"expected a whole file as torch.save writes it, found {bytes} bytes of something else"
    if wrong:
        raise InvariantBroken(f"{weights.path}: {wrong}", hint="remove it and run the step again")
    print(f"starts from {weights.path}, {bytes} bytes", file=sys.stderr)


def _check_dataset(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.arc import print_facts, verify_dataset
    from trm_repro.cli.tasks import print_leaks
    from trm_repro.digests import Cache

    verify_dataset(arguments.folder, arguments.digests, Cache(Path(".repro/digests.json")), sys.stderr)
    recipe = this_recipe()
    print_facts(arguments.folder, recipe)
    print_leaks(recipe, Path(os.environ["TRM_DIR"], recipe.work))


def _train(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from trm_repro.files import write_text
    from trm_repro.recipes.read import read_recipe
    from trm_repro.training.run import train
    from trm_repro.training.state import Place

    repository = arguments.repository
    run = replace(this_run(check=False), repository=repository)  # not where env.sh is
    recipe = read_recipe(repository / RECIPES, run.recipe)
    named = (word.partition("=") for word in arguments.variable)
    environment = {name: value if said else os.environ[name] for name, said, value in named}
    place = Place.of(run, recipe, repository / trm_dir())
    code = train(place, arguments.words, environment).exit_code
    if code == 0:
        write_text(run.folder / "environment.txt", environment_found(run, recipe))
    return code


def _warm_start(arguments: argparse.Namespace) -> None:
    from trm_repro.training.run import last_whole_checkpoint

    print(last_whole_checkpoint(arguments.folder))


def _prove(arguments: argparse.Namespace) -> int:
    import shlex

    from trm_repro.files import write_bytes, write_json, write_text
    from trm_repro.provenance import signature
    from trm_repro.provenance.faithful import SUPPORT_SAID, SUPPORTS, TRAIN
    from trm_repro.provenance.manifest import WRITES, build_manifest, changed_since
    from trm_repro.provenance.statement import FILE, make_statement
    from trm_repro.runs.stamps import last_attempts
    from trm_repro.training.state import Place
    from trm_repro.training.verdict import as_text, judge

    run, recipe, work = this_run(), this_recipe(), trm_dir()
    folder = run.artifacts
    papers = [folder / "manifest.json", folder / FILE]
    for path in papers:  # what vouches for an earlier attempt is gone, however this one ends
        path.unlink(missing_ok=True)
    ran = [entry for entry in last_attempts(run, "commands.jsonl") if entry["step"] <= WRITES]
    said = recipe.train.support and f", with {SUPPORTS}/{recipe.train.support}: {SUPPORT_SAID[recipe.train.support]}"
    lines = [
        f"# {e['step']}, in {e['cwd']}, exit {e['exit_code']}{said if e['step'] == TRAIN else ''}\n{shlex.join(e['argv'])}\n"
        for e in ran
    ]
    write_text(arguments.run_dir / "COMMANDS.txt", "".join(lines))
    manifest = build_manifest(run, recipe, work=work, knobs=knobs_and_defaults())
    verdict = judge(Place.of(run, recipe, work), manifest, run.name, changed_since(run, manifest, locate))
    write_json(folder / "verdict.json", verdict.as_json())
    print(as_text(verdict), file=sys.stderr)
    print(verdict.verdict)
    if not verdict.sound:
        return 4
    write_json(papers[0], manifest)
    write_bytes(papers[1], make_statement(papers[0].read_bytes()))
    if arguments.key:
        print(signature.sign(papers[1], arguments.key), file=sys.stderr)
    return 0


def _handoff(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.run import write_report
    from trm_repro.files import read_json, write_text
    from trm_repro.provenance.arrange import arrange
    from trm_repro.provenance.checklist import checklist
    from trm_repro.runs.stamps import read_stamp

    run = this_run()
    folder = run.artifacts
    manifest = read_json(folder / "manifest.json")
    published = read_stamp(run.path("07-publish"))
    boxes = "".join(f"{box}\n" for box in checklist(manifest, locate, published.said if published else ""))
    if arguments.notebook_of:
        from trm_repro.notebook.write import how_to_submit, write_notebook
        from trm_repro.provenance.bundle import read_bundle

        bundle, competition = read_bundle(arguments.notebook_of), required("KAGGLE_COMPETITION")
        write_notebook(bundle, folder / "notebook.ipynb", competition)
        steps = enumerate(how_to_submit(bundle.id, competition), 1)
        boxes += "\nTo submit it to Kaggle:\n" + "".join(f"  {number}. {step}\n" for number, step in steps)
    write_text(folder / "CHECKLIST.txt", boxes)
    print(boxes, end="", file=sys.stderr)
    for path in write_report(manifest, folder, verdict=folder / "verdict.json"):
        print(path, file=sys.stderr)
    for place in arrange(folder, manifest, locate):
        print((folder / place).relative_to(run.repository), file=sys.stderr)


def _estimate(arguments: argparse.Namespace) -> None:
    from trm_repro.machine.estimate import estimate
    from trm_repro.machine.hardware import graphics

    this_run()  # the knobs are checked first
    most, seen = int(checked("MAX_GPUS_TO_USE", "4")), graphics(os.environ)
    text = estimate(this_recipe(), seen.visible, most=most, gpu_hour=float(checked("GPU_HOUR_USD", "0")))
    if seen.complaint and seen.why != "missing":
        text = f"GPUs      {seen.told}\n{text}"
    if arguments.json:
        told: dict[str, list[str]] = {}
        for label, _, said in (line.partition(" ") for line in text.splitlines()):
            told.setdefault(label, []).append(said.strip())
        print_json({"recipe": required("RECIPE"), "plan": told})
    else:
        print(text)


def _measure(arguments: argparse.Namespace) -> None:
    from trm_repro.machine.estimate import report
    from trm_repro.machine.measure import measure

    seen = measure(arguments.words, cwd=arguments.cwd, at_most=arguments.at_most, window=arguments.window)
    print(report(this_recipe(), seen, gpu_hour=float(checked("GPU_HOUR_USD", "0"))))


def _rehearsal(arguments: argparse.Namespace) -> None:
    from trm_repro.machine.hardware import gpus
    from trm_repro.machine.rehearsals import fitting

    asked = arguments.engine == "upstream" and not arguments.on_cpu  # looking for GPUs takes a moment
    print(fitting(arguments.engine, arguments.light, gpus=asked and bool(gpus())))


def _crosscheck(arguments: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory

    from trm_repro.files import write_json
    from trm_repro.runs.metrics import FILE as METRICS
    from trm_repro.runs.metrics import read_all
    from trm_repro.training import crosscheck

    upstream, ours = arguments.upstream, arguments.ours
    both = crosscheck.trainings(read_all(upstream / METRICS), read_all(ours / METRICS))
    with TemporaryDirectory() as scratch:
        scored = list(crosscheck.scored_again(arguments.rehearsed, arguments.dataset, Path(scratch)))
    built = crosscheck.files(arguments.dataset, arguments.built)
    found = crosscheck.Crosscheck([*both.rows, *crosscheck.weights(upstream, ours), *scored, built], both.curve)
    write_json(arguments.output, found.as_json())
    print(found)
    print(arguments.output, file=sys.stderr)
    return 0 if found.agrees else 1


def _summary(arguments: argparse.Namespace) -> None:
    from trm_repro.runs.summary import summary

    print(summary(this_run(), locate))


def _sweep(arguments: argparse.Namespace) -> None:
    from trm_repro.report.sweep import evaluate, markdown, read_sweep

    sweep = read_sweep(RECIPES, arguments.name)
    if arguments.what == "recipes":
        print("\n".join(sweep.recipes))
    elif arguments.what == "evaluate":
        evaluate(sweep, Path.cwd())
    else:
        print(markdown(sweep, Path.cwd()), end="")
