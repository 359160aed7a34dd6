"""The audit: every claim that is wrong is contradicted by its own row, and what cannot be known is said by name."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trm_repro.arc.versions import VERSIONS, tasks_of
from trm_repro.audit import sources
from trm_repro.audit.audit import Request, audit
from trm_repro.audit.claims import said
from trm_repro.audit.page import AGREES, CANNOT_TELL, CONTRADICTS, Page
from trm_repro.cli import main
from trm_repro.cli.engine import _warn_of_cycles
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.provenance.bundle import write_sums
from trm_repro.recipes import checkpoints
from trm_repro.weights import identifiers
from trm_repro.weights.stored import Tensor, read_content
from trm_repro.weights.values import look_at_table

BUNDLE = Path(__file__).parents[1] / "golden/bundles/v1"
CONFIG = (BUNDLE / "all_config.yaml").read_text()
Change = Callable[[Path], None]


def page(place: Path | str, *claims: str, **request: Any) -> Page:
    (found,) = audit(place, str(place), Request(claims=claims, **request))
    return found


def verdicts(found: Page, about: str) -> list[str]:
    return [row.verdict for row in found.rows if row.about == about]


def contradicted(found: Page) -> list[tuple[str, str]]:
    return [(row.about, row.found) for row in found.rows if row.verdict == CONTRADICTS]


def text_change(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def values(name: str, number: float, where: slice = slice(0, 1)) -> Change:
    """Other numbers in a tensor, in its place in the file; the zip's own checksum is not the audit's to know."""

    def change(folder: Path) -> None:
        path = folder / "model.ckpt"
        tensor = next(t for key, t in read_content(path).items() if key.endswith(name))
        held = np.memmap(path, "<f4", "r+", tensor.begin, tensor.shape)
        held.reshape(-1)[where] = number
        held.flush()

    return change


def answered_rightly(folder: Path) -> None:
    tasks, held = tasks_of(VERSIONS[0]), json.loads((folder / "submission.json").read_text())
    for task, entries in held.items():
        for entry, pair in zip(entries, tasks[task]["test"], strict=True):
            entry["attempt_1"] = pair["output"]
    (folder / "submission.json").write_text(json.dumps(held))


def fewer_names(folder: Path) -> None:
    names = json.loads((folder / "identifiers.json").read_text())
    (folder / "identifiers.json").write_text(json.dumps(names[:-1]))


TAMPERED: dict[str, tuple[Change, str, str]] = {  # name: what is changed, the row that says it, words of it
    "not a number": (values("qkv_proj.weight", float("nan")), "weights", "qkv_proj.weight: 1 values are no numbers"),
    "infinite": (values("puzzle_emb.weights", float("inf"), slice(7, 9)), "weights", "puzzle_emb.weights: 2 values"),
    "untrained": (values("puzzle_emb.weights", 0.0, slice(None)), "puzzle table", "144 of 144 were never trained"),
    "step": (text_change("manifest.json", 'step_70"', 'step_7000"'), "step", "fit evaluation"),
    "submission": (answered_rightly, "number", "pass@1 per task is 100.000 %"),
    "cycles": (
        text_change("all_config.yaml", "L_cycles: 4", "L_cycles: 6"),
        "configuration",
        "L_cycles: expected 4, found 6",
    ),
    "layers": (text_change("all_config.yaml", "L_layers: 2", "L_layers: 3"), "configuration", "missing' in the file"),
    "width": (
        text_change("all_config.yaml", "hidden_size: 16", "hidden_size: 32"),
        "configuration",
        "by the configuration",
    ),
    "heads": (
        text_change("all_config.yaml", "num_heads: 2", "num_heads: 3"),
        "configuration",
        "does not divide into 3",
    ),
    "card": (text_change("README.md", "value: 0.5\n", "value: 0.9\n"), "number", "pass@2 per task is 50.000 %"),
    "names": (fewer_names, "puzzle table", "144 names for 145 rows"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_bundle_is_contradicted_by_the_row_that_it_is_about(name: str, tmp_path: Path) -> None:
    change, about, words = TAMPERED[name]
    folder = shutil.copytree(BUNDLE, tmp_path / "bundle")
    change(folder)
    write_sums(folder)
    found = page(folder)
    assert found.exit_code == 1
    assert any(row == about and words.replace("'", "") in said for row, said in contradicted(found)), str(found)
    assert ("bundle", CONTRADICTS) in [(row.about, row.verdict) for row in found.rows]


def test_a_bundle_agrees_on_every_form_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(BUNDLE), "--markdown", str(tmp_path / "a.md"), "--json", str(tmp_path / "a.json")]) == 0
    text, told = capsys.readouterr().out, json.loads((tmp_path / "a.json").read_text())
    assert told["format"] == "trm-repro/audit/v1" and told["verdict"] == AGREES
    assert {row["verdict"] for row in told["rows"]} == {AGREES}
    assert {"EMA or raw", "cycles and slots"} <= {entry["what"] for entry in told["unknown"]}
    markdown = (tmp_path / "a.md").read_text()
    for row in told["rows"]:
        assert row["about"] in text and f"| {row['about']} |" in markdown
    assert max(map(len, text.splitlines()[3:])) <= 100
    assert main(["audit", str(BUNDLE), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == told


CLAIMS = {  # a claim of the golden bundle, whose pass@1 is 25 % and pass@2 50 % of 4 tasks
    "pass@2=0.5": 0,
    "pass@2=50%": 0,
    "pass@2=50": 0,
    "pass@1 per task=0.25": 0,
    "ARC/pass@1=0.25": 0,
    "pass@2=0.078": 1,
    "pass@2=49%": 1,
    "pass@1=0.628": 1,
    "pass@1000=0.001": 1,  # less than with two attempts
    "pass@1000=0.6": 3,
    "exact_accuracy=0.6": 3,
    "recipe=arc2-paper": 1,
    "recipe=no-such-one": 3,
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_decides_the_exit(claim: str, tmp_path: Path) -> None:
    shutil.copyfile(BUNDLE / "submission.json", tmp_path / "submission.json")
    shutil.copyfile(BUNDLE / "all_config.yaml", tmp_path / "all_config.yaml")
    found = page(tmp_path, claim)
    assert found.exit_code == CLAIMS[claim], str(found)


@pytest.mark.parametrize("word", ["pass@2", "pass@2=x", "pass@2=-1", "pass@2=101", "=3", "pass@2=nan"])
def test_what_is_no_claim_is_refused_before_anything_is_done(word: str) -> None:
    with pytest.raises(UsageError, match="not a claim"):
        said([word])
    assert main(["audit", "hf:ada/weights", "--claim", word]) == 2


def test_an_accuracy_that_is_called_pass_at_1_is_recognised() -> None:
    found = page(BUNDLE, "accuracy=0.628", "pass@1=0.628")
    assert "is what accuracy is said to be" in dict(contradicted(found))["number"]


# ---- as others lay them out ----


def lay(folder: Path, *files: str, **contents: str) -> Path:
    """Files of the bundle's, under other names; a configuration for each folder that has weights."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kind = "submission.json" if name.endswith("submission.json") else "model.ckpt"
        shutil.copyfile(BUNDLE / kind, folder / name)
    for name, text in contents.items():
        (folder / name.replace("_yaml", ".yaml").replace("__", "/")).write_text(text)
    return folder


def schedule(dataset: str) -> str:
    text = CONFIG.replace("epochs: 20\n", "epochs: 100000\n").replace("eval_interval: 10\n", "eval_interval: 10000\n")
    return text.replace("global_batch_size: 16\n", "global_batch_size: 768\n").replace("data/toy", f"data/{dataset}")


def test_two_runs_side_by_side_get_a_page_each_and_are_not_taken_for_arc_prizes(tmp_path: Path) -> None:
    lay(tmp_path, "arc_v1_public/step_518071", "arc_v2_public/step_723914")
    pages = audit(tmp_path, "x", Request())
    assert [p.subject for p in pages] == ["x, arc_v1_public/step_518071", "x, arc_v2_public/step_723914"]
    for one, size in zip(pages, ("1,822,205,258", "2,467,988,810"), strict=True):
        assert [row.claim.split("(")[1].split(" ")[0] for row in one.rows if row.verdict == CONTRADICTS] == [size]
    assert main(["audit", str(tmp_path)]) == 1


def test_a_pointer_of_git_lfs_is_known_by_the_digest_it_names(tmp_path: Path) -> None:
    known = checkpoints.CHECKPOINTS[0]
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{known.sha256}\nsize {known.bytes}\n"
    (tmp_path / "step_723914").write_text(pointer)
    found = page(tmp_path)
    assert verdicts(found, "files") == [AGREES] and verdicts(found, "weights") == [CANNOT_TELL]
    assert "6.20 %" in " ".join(found.notes) and found.exit_code == 3


def test_a_submission_of_another_step_and_a_step_between_evaluations(tmp_path: Path) -> None:
    lay(tmp_path, "step_119432", "evaluator_ARC_step_72385/submission.json")
    (tmp_path / "all_config.yaml").write_text(schedule("arc2concept-aug-1000"))
    found = dict(contradicted(page(tmp_path)))
    assert "the submission is of step 72,385, the weights are of step 119,432" in found["submission"]
    assert "67,833 to 75,820 fit evaluation 1 of 10" in found["step"]
    assert found["puzzle table"] == "its puzzle table has 145 rows"


@pytest.mark.parametrize("step", [72391, 434348, 723914])
def test_the_papers_own_steps_are_possible(step: int, tmp_path: Path) -> None:
    lay(tmp_path, f"step_{step}")
    (tmp_path / "all_config.yaml").write_text(schedule("arc2concept-aug-1000"))
    assert verdicts(page(tmp_path), "step") == [AGREES]


def test_known_weights_with_other_cycles_are_contradicted_and_probable_ones_are_told(tmp_path: Path) -> None:
    maze, lora = tmp_path / "maze", tmp_path / "lora"
    other = CONFIG.replace("L_cycles: 4", "L_cycles: 6")
    lay(maze, "maze_hard_step_32550")
    (maze / "all_config.yaml").write_text(other)
    assert verdicts(page(maze), "cycles") == [CONTRADICTS]
    lay(lora, "step_3688")
    (lora / "all_config.yaml").write_text(other + "load_checkpoint: pretrained/step_723914\n")
    assert verdicts(page(lora), "cycles") == [CANNOT_TELL]


def warned(capsys: pytest.CaptureFixture[str], name: str, config: Path | None = None) -> str:
    _warn_of_cycles([name], config)
    return capsys.readouterr().err


def test_evaluate_warns_of_cycles_that_the_weights_were_not_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lay(tmp_path, "step_3688")
    for cycles, base, warns in (
        (6, "pretrained/step_723914", True),
        (4, "pretrained/step_723914", False),
        (6, "a", False),
    ):
        text = CONFIG.replace("L_cycles: 4", f"L_cycles: {cycles}") + f"load_checkpoint: {base}\n"
        (tmp_path / "all_config.yaml").write_text(text)
        said = warned(capsys, str(tmp_path / "step_3688"))
        assert ("warning: D-28: the published weights of Trelis" in said) is warns
    (tmp_path / "other.yaml").write_text("arch: {L_cycles: 6}\n")
    name = "hf://alphaXiv/trm-model-maze/maze_hard_step_32550"
    assert "were trained with L_cycles 4" in warned(capsys, name, tmp_path / "other.yaml")
    assert not warned(capsys, name)
    assert "other.yaml does not say H_cycles, halt_max_steps, num_heads" in warned(capsys, "x", tmp_path / "other.yaml")
    (tmp_path / "other.yaml").write_text("arch: [6]\n")
    assert not warned(capsys, name, tmp_path / "other.yaml")


@pytest.mark.deep
def test_evaluate_warns_before_it_loads_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.yaml").write_text("arch: {L_cycles: 6}\n")
    words = [
        "evaluate",
        "--checkpoint",
        "hf://alphaXiv/trm-model-maze/maze_hard_step_32550",
        "--dataset",
        str(tmp_path / "none"),
    ]
    assert main([*words, "--config", str(tmp_path / "other.yaml")]) == 3
    assert capsys.readouterr().err.startswith("warning: D-28")


def test_ten_attempts_and_a_card_in_per_cent(tmp_path: Path) -> None:
    lay(tmp_path, "step_220708")
    held = json.loads((BUNDLE / "submission.json").read_text())
    ten = {t: [{f"attempt_{i}": e["attempt_1"] for i in range(1, 11)} for e in entries] for t, entries in held.items()}
    (tmp_path / "submission.json").write_text(json.dumps(ten))
    metrics = "    - {type: pass@10, value: 25.0}\n    - {name: pass@1, value: 30}\n"
    (tmp_path / "README.md").write_text(f"---\nmodel-index:\n- results:\n  - metrics:\n{metrics}---\n")
    found = page(tmp_path)
    assert verdicts(found, "number") == [AGREES, CONTRADICTS]
    assert any("the attempts are equal at all" in note for note in found.notes)


def test_a_results_file_of_the_hub_is_a_claim(tmp_path: Path) -> None:
    lay(tmp_path, "submission.json")
    (tmp_path / ".eval_results").mkdir()
    entry = "- dataset: {id: a/b, task_id: c}\n  value: 0.5\n  notes: pass@2 per task, in per cent\n"
    (tmp_path / ".eval_results/x.yaml").write_text(entry)
    assert contradicted(page(tmp_path))[0][0] == "number"


def test_a_repository_without_weights_is_scored_on_the_tasks_that_are_given(tmp_path: Path) -> None:
    lay(tmp_path, "out/submission.json")
    tasks = {name: task for name, task in tasks_of(VERSIONS[0]).items() if name != "e8686506"}
    (tmp_path / "given.json").write_text(json.dumps(tasks))
    found = page(tmp_path, "pass@2=0.5", tasks=str(tmp_path / "given.json"))
    assert found.exit_code == 1 and ("weights", "there are no weights here") in found.unknown
    assert page(tmp_path, "pass@2=0.5").exit_code == 0
    assert page(tmp_path, "pass@2=1.667%").exit_code == 0  # 2 of all 120


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"", CONTRADICTS),
        (b"<!doctype html><html>403</html>", CONTRADICTS),
        ((BUNDLE / "model.ckpt").read_bytes()[:9000], CONTRADICTS),
        (b"\x1f\x8b\x08\x00" + bytes(600), CANNOT_TELL),
        (b"\x80\x04\x95" + bytes(600), CANNOT_TELL),
    ],
)
def test_what_is_no_whole_file_of_weights(data: bytes, verdict: str, tmp_path: Path) -> None:
    (tmp_path / "step_1").write_bytes(data)
    assert verdicts(page(tmp_path), "weights") == [verdict]


def test_there_is_nothing_or_nothing_claims_anything(tmp_path: Path) -> None:
    with pytest.raises(MissingPrerequisite):
        page(tmp_path / "none")
    assert main(["audit", str(tmp_path / "none")]) == 3
    found = page(tmp_path)
    assert found.exit_code == 3 and "nothing here claims anything" in found.headline


def test_a_bundle_in_a_folder_of_a_repository_is_verified_too(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(BUNDLE, tmp_path / "a/arc2"))
    assert verdicts(page(tmp_path), "bundle") == [AGREES]
    text_change("all_config.yaml", "L_cycles: 4", "L_cycles: 6")(folder)
    assert verdicts(page(tmp_path), "bundle") == [CONTRADICTS]


def test_two_vocabularies_are_no_models(tmp_path: Path) -> None:
    held = torch.load(BUNDLE / "model.ckpt", weights_only=True)
    held["model.inner.lm_head.weight"] = torch.zeros(13, held["model.inner.lm_head.weight"].shape[1])
    torch.save(held, tmp_path / "step_1")
    (tmp_path / "all_config.yaml").write_text(CONFIG)
    assert "reads 12 kinds of token, and answers with 13" in contradicted(page(tmp_path))[0][1]


def test_a_checkpoint_called_as_a_tar_is_no_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copyfile(BUNDLE / "model.ckpt", tmp_path / "checkpoint.pth.tar")
    main(["audit", str(tmp_path / "checkpoint.pth.tar")])
    assert "AGREES       weights: checkpoint.pth.tar holds weights of a TRM" in capsys.readouterr().out


def test_hostile_names_and_texts_stay_in_their_cells(tmp_path: Path) -> None:
    shutil.copyfile(BUNDLE / "model.ckpt", tmp_path / "step_1\x1b[2J|<b>\n.pt")
    found = page(tmp_path)
    for text in (str(found), found.markdown()):
        assert "\x1b" not in text and "<b>" not in found.markdown()
    rows = [line for line in found.markdown().splitlines() if line.startswith("| weights")]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 5


# ---- sources ----


def test_sources_are_compared_by_gits_names_with_the_pinned_commit(tmp_path: Path, monkeypatch: Any) -> None:
    clone = tmp_path / "clone"
    (clone / "models").mkdir(parents=True)

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", *who, *words], cwd=clone, check=True, capture_output=True, text=True, timeout=60)
        return done.stdout.strip()

    git("init", "-q")
    commits = []
    for text in ("old\n", "new\n"):
        (clone / "models/trm.py").write_text(text)
        (clone / "pretrain.py").write_text("same\n")
        git("add", "-A")
        git("commit", "-q", "-m", "x")
        commits.append(git("rev-parse", "HEAD"))
    (tmp_path / "recipes/base").mkdir(parents=True)
    (tmp_path / "recipes/base/a.yaml").write_text(f"upstream: {{name: samsung, commit: {commits[1]}}}\n")
    monkeypatch.setattr(sources, "SHIPPED", tmp_path / "recipes")

    def told(**files: str) -> tuple[list[str], str]:
        folder = tmp_path / "subject"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        found = page(folder, clones=[clone])
        return verdicts(found, "sources"), " ".join(row.found for row in found.rows)

    assert told(trm="new\n") == ([AGREES], f"1 of 1 are those of commit {commits[1][:12]}")
    assert "1 of another commit" in told(trm="old\n", pretrain="same\n")[1]
    assert told(trm="mine\n", pretrain="same\n")[0] == [CONTRADICTS]
    assert told(trm="mine\n")[0] == [CANNOT_TELL]
    assert page(tmp_path / "subject").unknown[-1][0] == "sources"


def test_the_audited_folders_own_git_is_never_asked(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/config").write_text(f"[core]\n fsmonitor = touch {tmp_path}/was-run\n")
    (tmp_path / "trm.py").write_text("x\n")
    page(tmp_path)
    assert not (tmp_path / "was-run").exists()


# ---- the numbers of a table, and its names ----


def written(path: Path, table: Any) -> Tensor:
    data = np.ascontiguousarray(table)
    path.write_bytes(struct.pack("<Q", 0) + data.tobytes())
    return Tensor({4: "F32", 2: "BF16"}[data.itemsize], data.shape, 8, data.nbytes)


def test_a_table_is_told_in_pieces(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("trm_repro.weights.values.PIECE", 4096)
    rng = np.random.default_rng(1)
    drawn = rng.standard_normal((900, 64)).astype("<f4")
    found = look_at_table(tmp_path / "x", written(tmp_path / "x", drawn))
    assert found.drawn and not found.untrained and not found.first_untrained
    trained = drawn + rng.uniform(0, 3, (900, 1)).astype("<f4")
    trained[:40] = 0
    trained[100:130] = trained[0] + 0.5
    found = look_at_table(tmp_path / "x", written(tmp_path / "x", trained))
    assert (found.zero, found.alike, found.first_untrained, found.drawn) == (40, 30, True, False)
    assert found.common > 0.3 and found.norms[2] == pytest.approx(np.median(np.linalg.norm(
        np.delete(trained, [*range(40), *range(100, 130)], 0), axis=1)), rel=1e-5)  # fmt: skip
    halved = (trained.view(np.uint32) >> 16).astype(np.uint16)
    assert look_at_table(tmp_path / "x", written(tmp_path / "x", halved)).zero == 40
    with pytest.raises(InvariantBroken, match="ends before"):
        look_at_table(tmp_path / "x", Tensor("F32", (901, 64), 8, 901 * 256))


def test_variants_are_counted_by_task() -> None:
    names = ["<blank>", "a", "a|||t1|||0123456789", 'b"\\ü', 'b"\\ü|||t0|||1']
    for ascii_only in (True, False):
        data = json.dumps(names, ensure_ascii=ascii_only).encode()
        assert identifiers.variants(data) == {"a": 2, 'b"\\ü': 2} and identifiers.count(data) == 5
    for wrong in (b'["<blank>", "a", "a"]', b'["a", 3]', b"[", b"{}", b'["a"] x', b'["<blank>", "\\q"]'):
        with pytest.raises(InvariantBroken):
            identifiers.variants(wrong)
