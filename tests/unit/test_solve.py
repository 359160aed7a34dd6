"""``trm-repro solve``: tasks of one's own, with real weights; what it says where it cannot."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from engine_support import run_forked
from notebook_support import KNOWN, lay_out

from trm_repro.arc.submission import problems
from trm_repro.cli import main
from trm_repro.files import read_json
from trm_repro.notebook import own

PAIR = {"input": [[1, 2], [3, 4]], "output": [[1, 2], [3, 4]]}
TASK = {"train": [PAIR], "test": [PAIR]}
LEAST = ["--device", "cpu", "--augmentations", "1", "--fine-tune", "none", "--batch", "2"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return lay_out(tmp_path_factory.mktemp("kaggle")) / "input/trm-arc2-weights-tiny-run"


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


BAD_TASKS = {
    "nothing": (None, 3, "no such file or folder"),
    "text": ("hello", 4, "not valid JSON"),
    "list": ([1, 2], 4, "not ARC tasks"),
    "submission": ({"a": [{"attempt_1": [[0]], "attempt_2": [[0]]}]}, 4, "a submission, not tasks"),
    "ragged": ({"train": [PAIR], "test": [{"input": [[1], [1, 2]]}]}, 4, "ragged grid"),
    "untaught": ({"train": [], "test": [PAIR]}, 4, "no train pairs"),
    "unasked": ({"train": [PAIR], "test": []}, 4, "no test pairs"),
}


@pytest.mark.parametrize("case", BAD_TASKS)
def test_a_file_that_is_no_task_is_refused_in_a_line(tmp_path, capsys, case):
    content, code, said = BAD_TASKS[case]
    source = tmp_path / "task.json"
    if content is not None:
        write(source, content)
    words = ["solve", str(source), "--weights", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(words) == code
    first, *hint = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ") and said in first and len(hint) <= 1 and not (tmp_path / "out").exists()


def test_weights_that_are_none_are_refused_in_a_line(tmp_path, capsys):
    task, out = write(tmp_path / "task.json", TASK), tmp_path / "out"
    folder = tmp_path / "weights"

    def refused(code, said):
        assert main(["solve", task, "--weights", str(folder), "--out", str(out), *LEAST]) == code
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error: ", "Traceback"))]
        assert len(errors) == 1 and said in errors[0] and not out.exists()

    refused(3, "no such file or folder")
    folder.mkdir()
    refused(4, "no weights among")
    (folder / "step_5").write_text("hello")
    refused(3, "no all_config.yaml beside step_5")
    (folder / "all_config.yaml").write_text("arch: {}")
    refused(3, "no identifiers.json beside step_5")
    write(folder / "identifiers.json", ["<blank>"])
    refused(4, "model.ckpt")


@pytest.mark.parametrize(
    "words", [["--minutes", "0"], ["--minutes", "nan"], ["--augmentations", "-1"], ["--batch", "0"]]
)
def test_numbers_that_make_no_sense_are_refused(tmp_path, capsys, words):
    assert main(["solve", "x.json", "--weights", str(tmp_path), *words]) == 2
    assert "error: " in capsys.readouterr().err


def test_without_time_the_files_are_valid_and_say_so(bundle, tmp_path, capsys, monkeypatch):
    task, out = write(tmp_path / "mine.json", TASK), tmp_path / "out"
    build, shown = own.solve.build, []
    monkeypatch.setattr(
        own.solve, "build", lambda path, *rest, **more: (shown.append(read_json(path)), build(path, *rest, **more))[1]
    )
    assert main(["solve", task, "--weights", str(bundle), "--minutes", "1e-9", "--out", str(out), *LEAST]) == 0
    # the answer is kept from the model
    assert shown == [{"mine": {"train": [PAIR], "test": [{"input": PAIR["input"]}]}}]
    captured = capsys.readouterr()
    assert "these weights have never seen this task" in captured.err
    assert "not answered: the time was over" in captured.out and "0 of 2 predictions voted" in captured.out
    assert problems(read_json(out / "submission.json"), {"mine": TASK}) == []
    (answer,) = read_json(out / "solution.json")["answers"]["mine"]
    assert answer["behind"] is None and answer["right"] == 0
    assert (out / "solution.png").stat().st_size > 1000


def test_a_task_that_was_trained_on_is_said_to_be(bundle, tmp_path):
    from trm_repro.arc.tasks import arc_agi_2

    known = json.loads(arc_agi_2({"evaluation2": [KNOWN]})["evaluation2_challenges"])
    request = own.Request(
        write(tmp_path / "x.json", known), bundle, minutes=1e-9, augmentations=0, tune="none", device="cpu"
    )
    said = []
    solution = own.answer(request, say=said.append)
    assert (solution.known, solution.variants) == ({KNOWN: 1}, {KNOWN: 1})
    assert "trained on a task of this name" in said[0] and solution.right(KNOWN, 0) is None


def copying(folder):
    """Tasks whose output is their input, and one more, in files."""
    random = np.random.RandomState(0)

    def task():
        grids = [random.randint(0, 10, random.randint(2, 5, 2)).tolist() for _ in range(4)]
        pairs = [{"input": grid, "output": grid} for grid in grids]
        return {"train": pairs[:3], "test": pairs[3:]}

    write(folder / "toy_copies_challenges.json", {f"same{i:02}": task() for i in range(16)})
    return write(folder / "mine.json", task())


@pytest.mark.deep
@pytest.mark.parametrize("tune", ["none", "embeddings"])
def test_weights_that_learnt_a_rule_solve_a_task_of_it_that_they_have_not_seen(tmp_path, capsys, tune):
    mine = copying(tmp_path)
    data = tmp_path / "data"
    words = ["--input-file-prefix", str(tmp_path / "toy"), "--subsets", "copies", "--test-set-name", "copies"]
    assert main(["dataset", "arc", *words, "--num-aug", "8", "--output-dir", str(data)]) == 0
    arch = {"hidden_size": 32, "num_heads": 1, "expansion": 2, "L_layers": 1, "H_cycles": 1, "L_cycles": 1}
    arch |= {"halt_max_steps": 1, "puzzle_emb_len": 1, "puzzle_emb_ndim": 32, "forward_dtype": "float32"}
    train = {"global_batch_size": 8, "lr": 0.01, "lr_warmup_steps": 10, "ema": True, "ema_rate": 0.9, "epochs": 10}
    train |= {"eval_interval": 10, "evaluate": False, "keep_checkpoints": 0, "checkpoint_path": tmp_path / "weights"}
    pairs = {**{f"arch.{key}": value for key, value in arch.items()}, **train}
    run_forked(tmp_path, ["arch=trm", f"data_paths=[{data}]", *(f"++{key}={value}" for key, value in pairs.items())])
    (tmp_path / "weights/identifiers.json").write_bytes((data / "identifiers.json").read_bytes())

    out = tmp_path / "out"
    words = ["--fine-tune", tune, "--augmentations", "8", "--minutes", "2", "--device", "cpu", "--out", str(out)]
    assert main(["solve", mine, "--weights", str(tmp_path / "weights"), *words]) == 0
    captured = capsys.readouterr()
    assert "these weights have never seen this task" in captured.err and "attempt 1, right" in captured.out
    solution = read_json(out / "solution.json")
    (answer,) = solution["answers"]["mine"]
    assert answer["attempt_1"] == read_json(Path(mine))["test"][0]["output"] and answer["right"] == 1
    assert answer["behind"][0]["votes"] >= 5 and solution["variants_trained_on"] == {"mine": 0}
    assert (solution["steps"] > 0) == (tune != "none")
    assert yaml.safe_load((tmp_path / "weights/all_config.yaml").read_text())["arch"]["hidden_size"] == 32


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("verb", ["solve", "demo"])
def test_a_device_that_is_not_there_is_said_before_anything_is_done(
    verb, device, bundle, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    words = ["TASK.json", "--weights", str(bundle), "--fine-tune", "none"] if verb == "solve" else []
    write(Path("TASK.json"), TASK)
    assert main([verb, *words, "--device", device]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"error: device {device}: ") and "use the device cpu" in said and "note:" not in said
    assert [path.name for path in tmp_path.rglob("*")] == ["TASK.json"]


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no GPU of Apple's (MPS)")
def test_apples_gpu_learns_and_answers(bundle, tmp_path):
    task = write(tmp_path / "task.json", TASK)
    words = ["--augmentations", "1", "--batch", "2", "--minutes", "0.5", "--out", str(tmp_path / "out")]
    assert main(["solve", task, "--weights", str(bundle), "--device", "mps", *words]) == 0
    assert not problems(read_json(tmp_path / "out" / "submission.json"), {"task": TASK})


def test_an_empty_answer_is_shown_as_that():
    vote = {"votes": 3.0, "confidence": 0.5}
    whole = {"mine": [{"attempt_1": [[]], "attempt_2": [[4]]}]}
    shown = io.StringIO()
    tasks = {"mine": TASK}
    own.print_solution(own.Solution(tasks, whole, {"mine": [[vote, vote]]}, {"mine": 0}, {"mine": 1}, 0, 6, 6), shown)
    assert re.search(r"attempt 1.*\n.*\n?.*empty", shown.getvalue()), shown.getvalue()
