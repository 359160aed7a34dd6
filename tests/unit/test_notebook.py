"""The notebook, executed for real: Kaggle's folders in a temporary place, no internet, the code from the wheel."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from notebook_support import KNOWN, UNKNOWN, lay_out, tasks

from trm_repro.arc.submission import problems
from trm_repro.cli import main
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_json, write_json
from trm_repro.notebook import solve
from trm_repro.provenance.bundle import write_sums


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("kaggle"))


@pytest.fixture
def kaggle(made: Path, tmp_path: Path) -> Iterator[Path]:
    """Kaggle's folders, input/ read-only as there."""
    root = Path(shutil.copytree(made, tmp_path / "kaggle"))
    yield root


def bundle_of(kaggle: Path) -> Path:
    return kaggle / "input/trm-arc2-weights-tiny-run"


def write(kaggle: Path) -> Path:
    path = kaggle / "working/notebook.ipynb"
    assert main(["notebook", "write", "--bundle", str(bundle_of(kaggle)), "--output", str(path)]) == 0
    return path


def execute(kaggle: Path, path: Path, monkeypatch: pytest.MonkeyPatch, **knobs: str) -> tuple[Any, str]:
    """Runs a notebook; returns it with its outputs, and what it printed."""
    book = nbformat.read(path, as_version=4)
    for name, value in {"KAGGLE_ROOT": str(kaggle), "AUGMENTATIONS": "3", "BATCH": "8", **knobs}.items():
        monkeypatch.setenv(name, value)
    # A network that is not there: whatever asks for it fails at once.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    NotebookClient(
        book, timeout=300, kernel_name="python3", resources={"metadata": {"path": kaggle / "working"}}
    ).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    return book, "".join(
        output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"
    )


def run_here(kaggle: Path, monkeypatch: pytest.MonkeyPatch, **knobs: str) -> None:
    """The notebook's cells, run in this process, where everything is compiled already."""
    for name, value in {"KAGGLE_ROOT": str(kaggle), "AUGMENTATIONS": "3", "BATCH": "8", **knobs}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.path", [*sys.path])
    cells = [cell.source for cell in nbformat.read(write(kaggle), as_version=4).cells if cell.cell_type == "code"]
    exec("\n".join(cells).replace("%matplotlib inline", ""), {})


WHOLE = {"HOURS": "0.05", "FINE_TUNE_SHARE": "0.005", "FINE_TUNE": "lora", "SUBSET": "evaluation"}


def check_whole(kaggle: Path, said: str) -> None:
    assert problems(read_json(kaggle / "working/submission.json"), tasks(kaggle)) == []
    assert "steps of fine-tuning" in said and "2 tasks, 3 test inputs" in said and "3 test inputs answered" in said
    # the solutions are known here
    assert "scored on 2 tasks of ARC-AGI-2 evaluation (upstream's and Kaggle's" in said
    assert "pass@2 per task" in said and "of 2 tasks" in said and "pass@2 per test input" in said
    assert not (kaggle / "working/dataset").exists()


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


def test_its_code_is_the_wheels(kaggle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(kaggle)
    next(bundle_of(kaggle).glob("*.whl")).unlink()
    with pytest.raises(CellExecutionError, match="StopIteration"):
        execute(kaggle, path, monkeypatch)


def test_a_small_budget_submits_what_it_has(
    kaggle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(kaggle, monkeypatch, HOURS="0", FINE_TUNE="none")
    said = capsys.readouterr().out
    assert "0 of 12 predictions made, 0 test inputs answered" in said
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
    assert metadata["competition_sources"] == ["arc-prize-2025"]
    # The client's own rule: the slug of the title is the slug of the id.
    from slugify import slugify

    assert slugify(metadata["title"]) == metadata["id"].partition("/")[2]


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
    return solve.build(made / "input/arc-prize-2025/arc-agi_evaluation_challenges.json", folder, augmentations=3)


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
    import os

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


@pytest.mark.parametrize("what", ["embeddings", "lora"])
def test_fine_tuning_changes_what_it_says_and_nothing_else(made: Path, dataset: Path, what: str) -> None:
    import torch

    model, _ = solve.load(bundle_of(made), dataset)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert solve.fine_tune(model, bundle_of(made), dataset, what=what, seconds=2, batch=4) > 0
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name].cpu())}
    lora = {"embed_tokens.embedding_weight"} if what == "lora" else set()  # as upstream's adapters leave it trainable
    assert changed == {"puzzle_emb.weights"} | lora
    assert any("_lora_B" in name and value.abs().max() > 0 for name, value in after.items()) == (what == "lora")


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


def test_an_unknown_fine_tuning_is_a_usage_error(made: Path, dataset: Path) -> None:
    model, _ = solve.load(bundle_of(made), dataset)
    with pytest.raises(UsageError, match="embeding"):
        solve.fine_tune(model, bundle_of(made), dataset, what="embeding", seconds=1, batch=4)


def test_find_wants_exactly_one(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite, match="no x below"):
        solve.find(tmp_path, "x")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    with pytest.raises(InvariantBroken, match="several files x"):
        solve.find(tmp_path, "x")
