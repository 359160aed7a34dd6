"""The notebook, executed for real: Kaggle's folders in a temporary place, no internet, the code from the wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from kaggle_server import TOKEN, KaggleServer
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from notebook_support import KNOWN, UNKNOWN, bundle_of, competition_of, lay_out, tasks

from trm_repro.arc.submission import problems
from trm_repro.cli import main
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_json, write_json
from trm_repro.notebook import shares, solve
from trm_repro.notebook.presets import PRESETS
from trm_repro.provenance.bundle import write_sums


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("kaggle"))


@pytest.fixture
def kaggle(made: Path, tmp_path: Path) -> Iterator[Path]:
    """Kaggle's folders, input/ read-only as there."""
    root = Path(shutil.copytree(made, tmp_path / "kaggle"))
    yield root


def write(kaggle: Path, *words: str, layout: str = "2025") -> Path:
    path = kaggle / "working/notebook.ipynb"
    assert main(["notebook", "write", "--bundle", str(bundle_of(kaggle, layout)), "--output", str(path), *words]) == 0
    return path


def move(kaggle: Path, layout: str) -> None:
    """Mounts weights and competition otherwise."""
    for find in (bundle_of, competition_of):
        find(kaggle, layout).parent.mkdir(parents=True, exist_ok=True)
        find(kaggle).rename(find(kaggle, layout))


def execute(kaggle: Path, path: Path, monkeypatch: pytest.MonkeyPatch, **knobs: str) -> tuple[Any, str]:
    """Runs a notebook; returns it with its outputs, and what it printed."""
    book = nbformat.read(path, as_version=4)
    for name, value in {"KAGGLE_ROOT": str(kaggle), "AUGMENTATIONS": "3", "BATCH": "8", **knobs}.items():
        monkeypatch.setenv(name, value)
    # A network that is not there: whatever asks for it fails at once.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": kaggle / "working"}}
    ).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    return book, "".join(
        output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"
    )


def run_here(kaggle: Path, monkeypatch: pytest.MonkeyPatch, layout: str = "2025", **knobs: str) -> None:
    """The notebook's cells, run in this process, where everything is compiled already."""
    for name, value in {"KAGGLE_ROOT": str(kaggle), "AUGMENTATIONS": "3", "BATCH": "8", **knobs}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.path", [*sys.path])
    book = nbformat.read(write(kaggle, layout=layout), as_version=4)
    cells = [cell.source for cell in book.cells if cell.cell_type == "code"]
    exec("\n".join(cells).replace("%matplotlib inline", ""), {})


WHOLE = {"HOURS": "0.05", "FINE_TUNE_SHARE": "0.005", "FINE_TUNE": "lora", "SUBSET": "evaluation"}


def check_whole(kaggle: Path, said: str) -> None:
    assert problems(read_json(kaggle / "working/submission.json"), tasks(kaggle)) == []
    assert "steps of fine-tuning" in said and "2 tasks, 3 test inputs" in said and "3 test inputs answered" in said
    assert "short run" in said and "submission.json is valid: 2 tasks, 3 test inputs" in said
    # the solutions are known here
    assert "scored on 2 tasks of ARC-AGI-2 evaluation (upstream's and Kaggle's" in said
    assert "pass@2 per task" in said and "of 2 tasks" in said and "pass@2 per test input" in said
    assert {path.name for path in (kaggle / "working").iterdir()} <= {  # only the submission is the notebook's output
        *("submission.json", "notebook.ipynb", "kernel-metadata.json")
    }


def test_it_runs_from_bundle_to_submission(
    kaggle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(kaggle, monkeypatch, **WHOLE)
    check_whole(kaggle, capsys.readouterr().out)


@pytest.mark.deep
def test_it_runs_in_a_kernel_of_its_own(kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book, said = execute(kaggle, write(kaggle), monkeypatch, **WHOLE)
    check_whole(kaggle, said)
    pictures = [
        output for cell in book.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 1


@pytest.mark.deep
@pytest.mark.timeout(900)  # two processes compile what Kaggle compiles
@pytest.mark.parametrize(("layout", "rerun"), [("2025", "1"), ("2026", ""), ("2026", "1"), ("model", "")])
def test_two_processes_as_kaggle_lays_things_out(
    kaggle: Path, monkeypatch: pytest.MonkeyPatch, layout: str, rerun: str
) -> None:
    move(kaggle, layout)
    path = write(kaggle, layout=layout)
    knobs = {
        **WHOLE,
        "HOURS": "0.2",
        "FINE_TUNE_SHARE": "0.005",
        "PROCESSES": "2",
        "KAGGLE_IS_COMPETITION_RERUN": rerun,
    }
    _, said = execute(kaggle, path, monkeypatch, **knobs)
    whole = read_json(kaggle / "working/submission.json")
    assert problems(whole, tasks(kaggle)) == [] and "3 test inputs answered" in said
    assert "process 0: " in said and "process 1: " in said and said.count("steps of fine-tuning") == 2
    assert ("full run, to be scored" if rerun else "short run") in said and ("scored on" in said) == (not rerun)
    assert str(competition_of(kaggle, layout)) in said and f"weights: {bundle_of(kaggle, layout)}" in said


def cell(path: Path, words: str) -> str:
    """The code cell that holds some words."""
    (found,) = (
        c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code" and words in c.source
    )
    return str(found)


@pytest.mark.parametrize(("rerun", "hours", "augmentations"), [("", 0.25, 10), ("1", 11, 1000)])
def test_all_the_time_is_taken_only_where_kaggle_scores(
    kaggle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rerun: str,
    hours: float,
    augmentations: int,
) -> None:
    for name in ("HOURS", "AUGMENTATIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_IS_COMPETITION_RERUN", rerun)
    names: dict[str, Any] = {}
    exec(cell(write(kaggle), "FULL ="), names)
    assert (names["HOURS"], names["AUGMENTATIONS"]) == (hours, augmentations)
    assert capsys.readouterr().out.endswith(f"({hours:g} hours)\n")


@pytest.mark.deep
def test_its_code_is_the_wheels(kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(kaggle)
    next(bundle_of(kaggle).glob("*.whl")).unlink()
    with pytest.raises(CellExecutionError, match=r"no weights .* attach the dataset ada/trm-arc2-weights-tiny-run"):
        execute(kaggle, path, monkeypatch)


def test_weights_in_two_places_are_an_error_unless_the_name_decides(
    kaggle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = cell(write(kaggle), "wheels =").split("shutil.rmtree")[0]
    other = kaggle / "input/datasets/bob/other-weights"
    shutil.copytree(bundle_of(kaggle), other)

    def chosen(name: str) -> Path:
        names: dict[str, Any] = {"INPUT": kaggle / "input", "DATASET": name}
        exec(f"from glob import glob\n{code}", names)
        return Path(names["bundle"])

    assert chosen("trm-arc2-weights-tiny-run") == bundle_of(kaggle) and chosen("other-weights") == other
    with pytest.raises(RuntimeError, match=r"weights in several places, detach all but one: .*other-weights"):
        chosen("")


@pytest.mark.deep
def test_it_needs_nothing_that_kaggle_does_not_have(kaggle: Path) -> None:
    """What the notebook imports besides its own wheel is in Kaggle's image."""
    shutil.unpack_archive(next(bundle_of(kaggle).glob("*.whl")), kaggle / "packages", "zip")
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(kaggle / "packages")!r})
        from importlib.metadata import packages_distributions
        import trm_repro.notebook.shares, trm_repro.arc.builder, trm_repro.arc.picture, trm_repro.arc.submission
        import trm_repro.engine.checkpoint, trm_repro.engine.evaluate, trm_repro.engine.train, trm_repro.weights.state
        assert trm_repro.__file__.startswith(sys.path[0])
        known = packages_distributions()
        print(*{{d for name in {{m.partition(".")[0] for m in sys.modules}} for d in known.get(name, [])}})
    """
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True, cwd=kaggle
    ).stdout.split()
    there = {"numba", "numpy", "pydantic", "PyYAML", "torch"}  # and what these bring
    brought = {
        "annotated-types",
        "llvmlite",
        "pydantic_core",
        "setuptools",
        "tqdm",
        "typing-inspection",
        "typing_extensions",
    }
    assert set(found) - brought - {"trm-repro"} <= there


def test_whatever_happens_there_is_a_valid_submission_from_the_start(
    kaggle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shares, "run", breaks)
    with pytest.raises(KeyboardInterrupt):
        run_here(kaggle, monkeypatch)
    assert problems(read_json(kaggle / "working/submission.json"), tasks(kaggle)) == []


def test_a_small_budget_submits_what_it_has(
    kaggle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(kaggle, monkeypatch, HOURS="0", FINE_TUNE="none")
    said = capsys.readouterr().out
    assert "0 of 12 predictions made, 0 test inputs answered" in said and "short run" in said
    submission = read_json(kaggle / "working/submission.json")
    assert problems(submission, tasks(kaggle)) == []
    assert submission[KNOWN][0]["attempt_1"] == [[0]]


def test_a_budget_that_ends_in_the_middle_keeps_what_was_predicted(
    made: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = solve.load(bundle_of(made), dataset)
    allowed = iter([True, True, False, False, False, False])
    monkeypatch.setattr(solve.Budget, "allows", property(lambda _: next(allowed)))
    answers = solve.predict(model, dataset, seconds=1, batch=2)
    assert (answers.predictions, answers.wanted) == (4, 12)
    assert answers.answered == 3  # all test inputs, since the tasks come before their variants
    whole = solve.submission(answers, tasks(made))
    assert problems(whole, tasks(made)) == []


def test_it_is_ready_for_kaggle_kernels_push(kaggle: Path) -> None:
    write(kaggle)
    metadata = read_json(kaggle / "working/kernel-metadata.json")
    assert metadata["code_file"] == "notebook.ipynb" and metadata["id"] == "ada/trm-tiny-run"
    assert metadata["is_private"] and metadata["enable_gpu"] and not metadata["enable_internet"]
    assert metadata["dataset_sources"] == ["ada/trm-arc2-weights-tiny-run"]
    assert metadata["competition_sources"] == ["arc-prize-2026-arc-agi-2"] and metadata["machine_shape"] == "NvidiaL4"
    # The client's own rule: the slug of the title is the slug of the id.
    from slugify import slugify

    assert slugify(metadata["title"]) == metadata["id"].partition("/")[2]


@pytest.mark.deep
def test_the_real_client_pushes_it(kaggle: Path, tmp_path: Path) -> None:
    write(kaggle, "--competition", "arc-prize-2025")
    words = ["kernels", "push", "-p", str(kaggle / "working")]
    (tmp_path / "home/tmp").mkdir(parents=True)
    with KaggleServer() as server:
        environ = {"PATH": os.environ["PATH"], "KAGGLE_API_TOKEN": TOKEN, **server.environment(tmp_path / "home")}
        done = subprocess.run(
            [sys.executable, "-c", "from kaggle.cli import main; main()", *words],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        (sent,) = server.kernels
    assert "Kernel version 1 successfully pushed" in done.stdout and "surprising" not in done.stdout
    assert sent["machineShape"] == "NvidiaL4" and sent["enableInternet"] is False and sent["isPrivate"]
    assert sent["competitionDataSources"] == ["arc-prize-2025"]
    assert sent["datasetDataSources"] == ["ada/trm-arc2-weights-tiny-run"]
    assert nbformat.reads(sent["text"], as_version=4).cells[0].source.startswith("# TRM on ARC-AGI-2")


def test_a_competition_that_is_none_is_refused(kaggle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--bundle", str(bundle_of(kaggle)), "--output", str(kaggle / "working/notebook.ipynb")]
    assert main(["notebook", "write", *words, "--competition", "ARC Prize"]) == 2
    assert "arc-prize-2026-arc-agi-2" in capsys.readouterr().err
    assert not (kaggle / "working/notebook.ipynb").exists()


def test_the_same_bundle_gives_the_same_notebook(kaggle: Path) -> None:
    texts = []
    for name in ("a", "b"):
        path = kaggle / "working" / name / "notebook.ipynb"
        main(["notebook", "write", "--bundle", str(bundle_of(kaggle)), "--output", str(path)])
        texts.append(path.read_text())
    assert texts[0] == texts[1]


def test_an_unfaithful_run_is_called_so(kaggle: Path) -> None:
    bundle = bundle_of(kaggle)
    manifest = read_json(bundle / "manifest.json") | {"faithful": False, "reasons": ["it was a rehearsal"]}
    write_json(bundle / "manifest.json", manifest)
    card = (bundle / "README.md").read_text().replace("**A faithful reproduction**", "**NOT A FAITHFUL REPRODUCTION**")
    (bundle / "README.md").write_text(card)
    write_sums(bundle)
    assert (
        "**NOT A FAITHFUL REPRODUCTION**: it was a rehearsal"
        in nbformat.read(write(kaggle), as_version=4).cells[0].source
    )


# -- what the notebook calls ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dataset(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "dataset"
    return solve.build(competition_of(made) / "arc-agi_evaluation_challenges.json", folder, augmentations=3)


def test_known_puzzles_keep_their_vector_and_others_start_from_the_mean(made: Path, dataset: Path) -> None:
    import torch

    model, known = solve.load(bundle_of(made), dataset)
    names = read_json(dataset / "identifiers.json")
    trained = torch.load(bundle_of(made) / "model.ckpt", weights_only=True)["_orig_mod.model.inner.puzzle_emb.weights"]
    table = model.puzzle_emb.weights
    assert known == 1
    assert torch.equal(table[names.index(KNOWN)], trained[1])
    assert torch.allclose(table[names.index(UNKNOWN)], trained.mean(0), atol=1e-6)


def test_identifiers_that_do_not_belong_to_the_weights_are_refused(kaggle: Path, dataset: Path) -> None:
    write_json(bundle_of(kaggle) / "identifiers.json", ["<blank>"])
    with pytest.raises(InvariantBroken, match="1 identifiers, but 3 puzzle vectors"):
        solve.load(bundle_of(kaggle), dataset)


def test_weights_that_would_run_code_are_refused(kaggle: Path, dataset: Path, tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"model.inner.H_init": Evil()}, bundle_of(kaggle) / "model.ckpt")
    write_sums(bundle_of(kaggle))
    with pytest.raises(InvariantBroken, match="nothing of it was run"):
        solve.load(bundle_of(kaggle), dataset)
    assert not (tmp_path / "ran").exists()


def test_predictions_are_the_evaluations(made: Path, dataset: Path) -> None:
    """The same votes as the engine's own evaluation of the same split."""
    import torch

    from trm_repro.arc.scoring import Votes
    from trm_repro.engine.data import Split
    from trm_repro.engine.evaluate import answer

    model, _ = solve.load(bundle_of(made), dataset)
    answers = solve.predict(model, dataset, seconds=300, batch=4)
    assert answers.predictions == answers.wanted == len(Split(dataset, "test").inputs)
    split = Split(dataset, "test")
    votes = Votes(read_json(dataset / "test_puzzles.json"), read_json(dataset / "identifiers.json"))
    rows = np.arange(len(split.inputs))
    batch = split.batch(rows, len(rows))
    logits, q = answer(model.eval(), batch)
    votes.add(
        batch.puzzle_identifiers.numpy(), split.inputs[rows], logits.argmax(-1).to(torch.uint8).numpy(), q.numpy()
    )
    assert answers.votes.pass_at_k((1, 2, 10)) == votes.pass_at_k((1, 2, 10))
    tests = read_json(dataset / "test_puzzles.json")
    assert answers.votes.answered() == {task: [True] * len(puzzle["test"]) for task, puzzle in tests.items()}


def test_an_answer_stays_with_its_test_input(made: Path, dataset: Path) -> None:
    """Of a task with two test inputs only the second has a prediction."""
    from trm_repro.arc.grids import encode
    from trm_repro.arc.scoring import Votes

    puzzles, names = read_json(dataset / "test_puzzles.json"), read_json(dataset / "identifiers.json")
    votes = Votes(puzzles, names)
    second = encode(np.array(puzzles[UNKNOWN]["test"][1]["input"], np.uint8))[None]
    guess = encode(np.full((2, 2), 7, np.uint8))[None]
    votes.add(np.array([names.index(UNKNOWN)]), second, guess, np.zeros(1, np.float32))
    whole = solve.submission(solve.Answers(votes, 1, 12), tasks(made))
    assert votes.answered() == {KNOWN: [False], UNKNOWN: [False, True]}
    assert [entry["attempt_1"] for entry in whole[UNKNOWN]] == [solve.NOT_ANSWERED, [[7, 7], [7, 7]]]


def test_every_task_is_predicted_before_any_task_is_predicted_twice(dataset: Path) -> None:
    from trm_repro.engine.data import Split

    split = Split(dataset, "test")
    order = solve._order(split)
    originals = sum(len(entry["test"]) for entry in read_json(dataset / "test_puzzles.json").values())
    names = read_json(dataset / "identifiers.json")
    first = {names[number] for number in split.puzzle_identifiers[split.puzzles(order[:originals])]}
    assert first == {KNOWN, UNKNOWN}
    assert sorted(order) == list(range(len(split.inputs)))


@pytest.mark.parametrize("what", ["embeddings", "lora", "full"])
def test_fine_tuning_changes_what_it_says_and_nothing_else(made: Path, dataset: Path, what: str) -> None:
    import torch

    model, _ = solve.load(bundle_of(made), dataset)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fast = replace(PRESETS["trelis"], lr=1.0, warmup=0)  # so that each weight moves by more than it is rounded to
    assert solve.fine_tune(model, bundle_of(made), dataset, what=what, seconds=1, batch=4, preset=fast) > 0
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name].cpu())}
    lora = {"embed_tokens.embedding_weight"} if what == "lora" else set()  # as upstream's adapters leave it trainable
    weights = {name for name, _ in model.named_parameters()} if what == "full" else set()
    assert changed == {"puzzle_emb.weights"} | lora | weights
    assert any("_lora_B" in name and value.abs().max() > 0 for name, value in after.items()) == (what == "lora")


def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations that fine-tuning asks for."""
    from trm_repro.engine import config

    asked: list[Any] = []
    parse = config.parse
    monkeypatch.setattr(config, "parse", lambda values: asked.append(parse(values)) or asked[-1])
    return asked


@pytest.mark.parametrize(("batch", "processes", "scale"), [(32, 4, 1.0), (16, 4, 0.5), (32, 1, 0.25)])
def test_nvarcs_preset_is_what_they_measured(
    made: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, batch: int, processes: int, scale: float
) -> None:
    asked = told(monkeypatch)
    plan = shares.Plan(preset="nvarc")
    assert plan.what == "full" and shares.Plan(preset="nvarc", what="lora").what == "lora"
    model, _ = solve.load(bundle_of(made), dataset, preset=PRESETS["nvarc"])
    assert (model.config.H_cycles, model.config.L_cycles, model.config.halt_max_steps) == (4, 4, 10)
    how = {"what": plan.what, "seconds": 0, "batch": batch, "preset": PRESETS["nvarc"], "processes": processes}
    solve.fine_tune(model, bundle_of(made), dataset, **how)
    (config,) = asked
    assert (config.arch.H_cycles, config.arch.L_cycles, config.arch.halt_max_steps) == (4, 4, 10)
    assert (config.lr, config.lr_warmup_steps, config.ema, config.freeze_weights) == (1e-4 * scale, 200, True, False)
    assert config.puzzle_emb_lr == 1e-2 * scale


def test_the_average_of_the_weights_answers_where_the_preset_says_so(
    made: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from trm_repro.engine.optim import WeightAverage

    monkeypatch.setattr(WeightAverage, "update", lambda average: average.average.fill_(0.5))
    model, _ = solve.load(bundle_of(made), dataset)
    how = {"what": "full", "seconds": 1, "batch": 2, "preset": replace(PRESETS["nvarc"], arch={})}
    assert solve.fine_tune(model, bundle_of(made), dataset, **how) > 0
    assert all(torch.all(parameter == 0.5) for parameter in model.parameters())


def test_a_budget_does_not_allow_what_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(solve.time, "monotonic", lambda: now[0])
    budget = solve.Budget(10)
    assert budget.allows
    with budget.piece():
        now[0] = 4.0
    assert budget.left == 6 and budget.allows
    with budget.piece():
        now[0] = 7.0
    assert budget.left == 3 and not budget.allows  # the longest piece took 4
    assert not solve.Budget(0).allows


def test_an_unknown_fine_tuning_or_preset_is_a_usage_error(made: Path, dataset: Path) -> None:
    model, _ = solve.load(bundle_of(made), dataset)
    with pytest.raises(UsageError, match="embeding"):
        solve.fine_tune(model, bundle_of(made), dataset, what="embeding", seconds=1, batch=4)
    with pytest.raises(UsageError, match="embeding"):
        shares.Plan(what="embeding")
    with pytest.raises(UsageError, match="nvarcs"):
        shares.Plan(preset="nvarcs")


def test_find_wants_exactly_one(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="no x below"):
        solve.find(tmp_path, "x")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    with pytest.raises(InvariantBroken, match="2 files x"):
        solve.find(tmp_path, "x")


def place(root: Path, *folders: str) -> list[Path]:
    """A file x in each of the folders."""
    for folder in folders:
        (root / folder).mkdir(parents=True)
        (root / folder / "x").touch()
    return [root / folder / "x" for folder in folders]


@pytest.mark.parametrize("above", ["", "competitions/"])
def test_the_competition_is_found_wherever_it_is_mounted(tmp_path: Path, above: str) -> None:
    ours, _ = place(tmp_path, f"{above}ours", f"{above}theirs")
    assert solve.find(tmp_path, "x", "ours") == ours
    with pytest.raises(InvariantBroken, match=r"2 files x: .*ours.*theirs"):
        solve.find(tmp_path, "x", "another")


def test_a_competition_of_another_name_will_do_where_it_is_the_only_one(tmp_path: Path) -> None:
    (only,) = place(tmp_path, "competitions/theirs")
    assert solve.find(tmp_path, "x", "ours") == only


def test_the_same_competition_twice_is_an_error_and_a_link_to_it_is_none(tmp_path: Path) -> None:
    (ours,) = place(tmp_path, "competitions/ours")
    (tmp_path / "ours").symlink_to(ours.parent)
    assert solve.find(tmp_path, "x", "ours").samefile(ours)
    place(tmp_path, "datasets/bob/ours")
    with pytest.raises(InvariantBroken, match="2 files x"):
        solve.find(tmp_path, "x", "ours")


def test_what_is_mounted_by_a_link_is_found(tmp_path: Path) -> None:
    (elsewhere,) = place(tmp_path / "elsewhere", "ours")
    (tmp_path / "input").mkdir()
    (tmp_path / "input/ours").symlink_to(elsewhere.parent)
    assert solve.find(tmp_path / "input", "x", "ours").samefile(elsewhere)


# -- tasks dealt to processes ------------------------------------------------------------------------------------------


def run_shares(
    made: Path, scratch: Path, processes: int, seconds: float = 600, **plan: Any
) -> tuple[solve.Answers, dict[str, Any]]:
    found = shares.run(
        bundle_of(made),
        competition_of(made) / "arc-agi_evaluation_challenges.json",
        scratch,
        shares.Plan(**{"what": "none", "augmentations": 3, "batch": 8, **plan}),
        seconds=seconds,
        processes=processes,
    )
    whole = solve.write_submission(scratch / "submission.json", found, tasks(made))
    assert problems(whole, tasks(made)) == []
    return found, whole


def test_what_was_predicted_before_an_error_counts(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trm_repro.engine import evaluate

    calls = iter(range(100))
    answer = evaluate.answer

    def breaks(*words: Any, **how: Any) -> Any:
        if next(calls) == 1:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return answer(*words, **how)

    monkeypatch.setattr(evaluate, "answer", breaks)
    found, whole = run_shares(made, tmp_path, 1, batch=2)
    assert (found.predictions, found.wanted, found.answered) == (2, 12, 2)
    assert "it ended early: RuntimeError: CUDA error: unspecified launch failure" in found.notes
    assert sum(entry["attempt_1"] != solve.NOT_ANSWERED for entries in whole.values() for entry in entries) == 2


def test_where_fine_tuning_fails_the_weights_answer_as_they_are(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, whole = run_shares(made, tmp_path / "plain", 1, augmentations=0)
    for where in ("fine_tune", "predict"):

        def spoils(model: Any, *_: Any, where: str = where, **how: Any) -> int:
            for parameter in model.parameters():
                parameter.data.fill_(float("nan"))
            if where == "fine_tune":
                raise RuntimeError("one task's puzzle vector is no number")
            return 1  # which nobody notices before the predictions are no numbers

        monkeypatch.setattr(solve, "fine_tune", spoils)
        found, answered = run_shares(made, tmp_path / where, 1, what="full", augmentations=0)
        assert found.predictions == plain.predictions == 3 and answered == whole
        assert any("fine-tuning failed, so the weights answer as they are: " in note for note in found.notes)


def test_where_memory_does_not_suffice_the_batch_is_halved(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    batches = []

    def eats(*_: Any, batch: int, **how: Any) -> int:
        batches.append(batch)
        if batch > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 5

    monkeypatch.setattr(solve, "fine_tune", eats)
    found, _ = run_shares(made, tmp_path, 1, what="embeddings", augmentations=0)
    assert batches == [8, 4, 2] and found.predictions == 3
    assert "5 steps of fine-tuning, batch 2" in found.notes


def test_nothing_at_all_is_a_submission_too(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(solve, "build", fails)
    found, whole = run_shares(made, tmp_path, 1)
    assert (found.predictions, found.answered) == (
        0,
        0,
    ) and "it ended early: OSError: no space left on device" in found.notes
    assert {str(entry) for entries in whole.values() for entry in entries} == {
        str({"attempt_1": [[0]], "attempt_2": [[0]]})
    }


def test_shares_have_every_task_once(made: Path, tmp_path: Path) -> None:
    challenges = competition_of(made) / "arc-agi_evaluation_challenges.json"
    for processes, counts in ((1, [2]), (2, [1, 1]), (4, [1, 1])):
        dealt = shares.deal(bundle_of(made), challenges, tmp_path, shares.Plan(), ends=1.5, processes=processes)
        found = [read_json(share.tasks) for share in dealt]
        assert [len(part) for part in found] == counts
        assert {name: task for part in found for name, task in part.items()} == read_json(challenges)
        assert [shares.Share.read(share.folder) for share in dealt] == dealt


def test_votes_of_two_shares_are_those_of_one(made: Path, tmp_path: Path) -> None:
    challenges = competition_of(made) / "arc-agi_evaluation_challenges.json"
    plan = shares.Plan(what="none", augmentations=3, batch=8)
    ends = shares.time.monotonic() + 600
    parts = shares.deal(bundle_of(made), challenges, tmp_path, plan, ends=ends, processes=2)
    for share in parts:
        shares.work(share)
    both = shares.gather(parts)
    assert (both.predictions, both.wanted, both.answered) == (12, 12, 3)
    for share in parts:
        alone = shares.gather([share])
        (task,) = read_json(share.tasks)
        assert alone.votes.submission()[task] == both.votes.submission()[task]
        assert alone.votes.tally()[task] == both.votes.tally()[task]


STAND_IN = """\
import json, os, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
first = not (folder / "began").exists()
(folder / "began").touch()
how = os.environ["HOW"].split(",")[int(folder.name)]
if how == "dies" or (how == "dies once" and first):
    print("CUDA error: the device is gone", flush=True)
    os.kill(os.getpid(), 9)
if how == "hangs":
    time.sleep(600)
plan = json.loads((folder / "share.json").read_text())["plan"]
print(plan["what"], plan["batch"], os.environ.get("CUDA_VISIBLE_DEVICES"))
"""


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, gpus: list[str]) -> list[str]:
    """Lets shares be done by processes that end as told; returns what there is to say of them, and their logs."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HOW", how)
    monkeypatch.setattr(shares, "__name__", "stand_in")
    monkeypatch.setattr(shares, "_gpus", lambda: gpus)
    monkeypatch.setattr(shares, "LOOK", 0.05)
    challenges = tmp_path / "arc-agi_test_challenges.json"
    count = len(how.split(","))
    write_json(challenges, {str(number): {} for number in range(count)})
    seconds = 1.0 if "hangs" in how else 600.0
    monkeypatch.setattr(shares, "GRACE", (0.0, 0.1))
    plan = shares.Plan(what="full", batch=8)
    ends = shares.time.monotonic() + seconds
    dealt = shares.deal(tmp_path, challenges, tmp_path, plan, ends=ends, processes=count)
    notes = shares._processes(dealt, seconds)
    return [*notes, *(f"{number}: {shares._last_line(share.folder)}" for number, share in enumerate(dealt))]


def test_each_process_has_a_gpu_and_one_that_dies_is_started_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = "ended with -9: CUDA error: the device is gone"
    assert sorted(stand_in(tmp_path, monkeypatch, "works,dies once,dies", ["3", "5", "7"])) == [
        "0: full 8 3",
        "1: none 4 5",
        "2: CUDA error: the device is gone",
        f"process 1 {died}; started again without fine-tuning",
        f"process 2 {died}",
        f"process 2 {died}; started again without fine-tuning",
    ]


def test_a_process_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stand_in(tmp_path, monkeypatch, "hangs,hangs", []) == [
        "process 0 did not end in time and was ended",
        "process 1 did not end in time and was ended",
        "0: it said nothing",
        "1: it said nothing",
    ]


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_a_process_that_is_killed_does_not_lose_the_others_answers(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes; the second one is out of weights from the start, and its tasks get a placeholder."""
    started = shares._started

    def spoils(share: shares.Share, number: int) -> Any:
        if number == 1:
            replace(share, bundle=tmp_path / "gone").write()
        return started(share, number)

    monkeypatch.setattr(shares, "_started", spoils)
    found, whole = run_shares(made, tmp_path / "scratch", 2)
    answered = {task: [entry["attempt_1"] != [[0]] for entry in entries] for task, entries in whole.items()}
    assert answered == {UNKNOWN: [True, True], KNOWN: [False]}  # the file's order
    assert found.predictions == 8 and sum("process 1 ended with 3: error: " in note for note in found.notes) == 2
