"""The report says what the manifest says, needs nothing else, and can be read by everybody."""

from __future__ import annotations

import copy
import dataclasses
import html.parser
import io
import itertools
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from proof_support import HERE, make_run, the_manifest

from trm_repro.arc.grids import encode
from trm_repro.arc.scoring import Votes
from trm_repro.cli import main
from trm_repro.cli.run import write_report
from trm_repro.files import read_json, write_json, write_text
from trm_repro.provenance.attest import BEGIN, END, read_all, table
from trm_repro.provenance.faithful import guard_outcomes, reasons
from trm_repro.recipes.published import POINTS, PUBLIC, RESULTS, comparable, published, retrained
from trm_repro.report.charts import grid, intervals
from trm_repro.report.facts import Facts, gather
from trm_repro.report.origin import read_origin
from trm_repro.report.page import page
from trm_repro.report.series import charts, thin
from trm_repro.report.style import STYLE
from trm_repro.report.text import markdown
from trm_repro.runs.evaluations import FILE, FOLDER

VOID = {"meta", "link", "line", "circle", "path", "polyline", "rect", "br", "img"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    make_run(root)
    return root


@pytest.fixture(scope="module")
def manifest(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return the_manifest(make_run(tmp_path_factory.mktemp("again")))


@pytest.fixture
def facts(root: Path, manifest: dict[str, Any]) -> Facts:
    return gather(manifest, lambda path: root / path)


class Parsed(html.parser.HTMLParser):
    """Checks that tags are balanced, and gathers tags and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_verdict_and_the_number_come_first(facts: Facts) -> None:
    words = " ".join(Parsed(page(facts)).words.split())
    places = [
        words.index(w) for w in ("Not a faithful reproduction", "50.00 %", "Published numbers", "Curves", "Provenance")
    ]
    assert places == sorted(places)
    assert "pass@2 per task 50.000 % (2 of 4 tasks; 95 % interval 15.00 to 85.00 %); pass@1 per task" in words
    assert "pass@2 per test input 60.000 % (3 of 5 test inputs; 95 % interval 23.07 to 88.24 %)" in words
    assert "one task is 25.00 points. It is of 4 tasks of ARC-AGI-2 evaluation (upstream's and Kaggle's; the" in words
    assert "The published numbers are of 120 tasks: this one cannot be compared with them" in words
    assert "vote of all checkpoints" in words


@pytest.mark.parametrize("twin", [page, markdown])
def test_both_twins_say_what_the_manifest_says(facts: Facts, manifest: dict[str, Any], twin: Any) -> None:
    text = twin(facts)
    for said in (*manifest["reasons"], "TRM paper", "7.80 %", "3 of 5 test inputs are right", "05-train went well"):
        assert said.replace("'", "&#x27;") in text or said in text, said
    for said in (
        manifest["recipe"]["sha256"],
        "seeds",
        "dataset 42, training 0",
        "D-01",
        "make all RECIPE=toy",
    ):
        assert said in text, said
    assert "RUN_NAME=tiny" in text, "a knob that differs belongs to the command that does it again"
    assert "arch.L_cycles=4" in text, "the training command"


def test_a_guard_that_had_nothing_to_look_at_was_not_needed(manifest: dict[str, Any]) -> None:
    changed = copy.deepcopy(manifest)
    first = changed["guards"][0]
    for guard, outcome in (
        *((name, "holds") for name in ("G-GPUS", "G-UPSTREAM-CONFIG", "G-SUPPORT", "G-PROCESSES")),
        ("G-KAGGLE-CREDENTIALS", "holds"),
        ("G-TARGET-DATASET", "overridden"),
        ("G-NO-ARC1", "broken"),
    ):
        changed["guards"].insert(1, {**first, "guard": guard, "outcome": outcome, "detail": outcome})
    found = guard_outcomes(changed)
    idle = ("G-GPUS", "G-PYTHON", "G-UPSTREAM-PIN", "G-UPSTREAM-CONFIG", "G-SUPPORT")
    assert {found[name][0] for name in idle} == {"not needed"}, found
    assert found["G-PROCESSES"][0] == "holds", "two share a batch"
    assert found["G-KAGGLE-CREDENTIALS"][0] == "not needed", "nothing was to be uploaded"
    assert found["G-TRAIN-COMMAND"][0] == "holds"
    assert found["G-TARGET-DATASET"] == ("overridden", "overridden"), "the worst outcome counts, not the last"
    text = markdown(gather(changed, lambda path: Path("nothing") / path))
    assert "| G-GPUS | not needed |" in text and "| G-NO-ARC1 | broken |" in text
    for command in changed["commands"]:
        command["argv"] = ["trm-repro", "train"]
    assert guard_outcomes(changed)["G-PROCESSES"][0] == "not needed", "one shares it with nobody"
    changed["recipe"]["resolved"]["train"]["gpu"] = True
    changed["recipe"]["resolved"]["dataset"]["program"] = ["kaggle", "datasets", "download"]
    assert {guard_outcomes(changed)[name][0] for name in ("G-GPUS", "G-KAGGLE-CREDENTIALS")} == {"holds"}


def test_the_page_needs_nothing_else(facts: Facts) -> None:
    text = page(facts)
    parsed = Parsed(text)
    assert "script" not in {tag for tag, _ in parsed.tags}
    for _, attributes in parsed.tags:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), value
    assert "@import" not in text and "url(" not in text and len(text) < 500_000


def test_every_picture_has_a_text(facts: Facts) -> None:
    parsed = Parsed(page(facts))
    pictures = [attributes for tag, attributes in parsed.tags if tag == "svg"]
    assert len(pictures) > 20
    ids = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    for attributes in pictures:
        named = attributes.get("aria-label") or attributes.get("aria-labelledby") in ids
        assert attributes.get("aria-hidden") == "true" or (attributes.get("role") == "img" and named), attributes
    assert re.search(r"training from 3\.\d+ to 1\.\d+", page(facts))


def test_headings_descend_one_by_one_and_tables_have_headers(facts: Facts) -> None:
    tags = Parsed(page(facts)).tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in tags if tag == "th")
    assert ("html", {"lang": "en"}) in tags


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_and_curves_have_contrast_in_every_scheme() -> None:
    schemes = [dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})", block)) for block in re.findall(r":root\{([^}]*)\}", STYLE)]
    assert len(schemes) == 3, "light, dark, paper"
    for scheme in schemes:
        for name in ("ink", "quiet", "accent", "good", "bad", "c0", "c1", "c2", "c3", "c4", "c5"):
            lighter, darker = sorted((luminance(scheme[name]), luminance(scheme["paper"])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (name, scheme[name])


def test_right_and_wrong_are_told_by_words(facts: Facts) -> None:
    words = Parsed(page(facts)).words
    assert words.count("✓ solved") == 3 and words.count("✗ not solved") == 2
    assert "attempt 2: ✓ right" in words and "attempt 1: ✗ wrong, another size" in words


def test_a_tasks_training_pairs_stand_beside_its_attempts_and_the_truth(facts: Facts) -> None:
    text = page(facts)
    for shown in facts.gallery:
        assert len(shown.pairs) >= 1
        start = text.index(f"<h3><code>{shown.task}</code>, test input {shown.index + 1}")
        article = text[start : text.index("</article>", start)]
        for number, (given, wanted) in enumerate(shown.pairs, 1):
            for name, cells in ((f"training input {number}", given), (f"training output {number}", wanted)):
                assert grid(cells, name) in article
        assert article.index("training pair 1") < article.index(">input<") < article.index(">truth<")


@pytest.mark.parametrize(
    ("guess", "exact", "said"),
    [
        (1.0, 0.0, "With no grid right, whoever always guesses “wrong” is right each time: this says nothing"),
        (0.9, 1.0, "With every grid right, whoever always guesses “right” is right each time: this says nothing"),
        (0.8, 0.2, "It knows no more than how often it is right"),
        (0.9, 0.25, "Its guess is right 15.0 points more often than the commoner guess"),
    ],
)
def test_whether_it_knows_when_it_is_right_is_held_against_a_guess_that_knows_nothing(
    facts: Facts, guess: float, exact: float, said: str
) -> None:
    evaluations = [{"step": 4, "all.q_halt_accuracy": guess, "all.exact_accuracy": exact}]
    (drawn,) = [chart for chart in charts({}, evaluations, "arc2") if chart.title.startswith("Halting: is its")]
    assert drawn.note.startswith(said)
    assert drawn.curves[-1].points == ((4, max(exact, 1 - exact)),)
    told = dataclasses.replace(facts, charts=(drawn,))
    assert drawn.note in html.unescape(page(told)) and drawn.note in markdown(told)


def test_where_nothing_is_right_nothing_right_is_promised(root: Path, manifest: dict[str, Any]) -> None:
    none = copy.deepcopy(manifest)
    path = next(e["path"] for e in none["outputs"] if e["role"] == "submission")
    none["outputs"] = [e for e in none["outputs"] if e["role"] != "submission" or e["path"] == path]
    held = read_json(root / path)
    write_json(root / path, {t: [{"attempt_1": [[0]], "attempt_2": [[0]]} for _ in a] for t, a in held.items()})
    try:
        assert "0 of 5 test inputs are right. Shown: those that come nearest." in page(gather(none, lambda p: root / p))
    finally:
        write_json(root / path, held)


def test_votes_and_confidence_are_shown_where_the_engine_left_them(root: Path, manifest: dict[str, Any]) -> None:
    manifest = copy.deepcopy(manifest)
    entry = next(e for e in reversed(manifest["outputs"]) if e["role"] == "submission")
    path = root / entry["path"]
    manifest["outputs"].append({**entry, "role": "votes", "path": entry["path"].replace("submission", "votes")})
    tally = {task: [[{"votes": 7, "confidence": 0.62}]] for task in read_json(path)}
    write_json(path.with_name("votes.json"), tally)
    try:
        assert "attempt 1: ✓ right, 7 votes, confidence 0.62" in page(gather(manifest, lambda path: root / path))
    finally:
        path.with_name("votes.json").unlink()


def test_the_tally_of_the_votes_is_that_of_the_submission() -> None:
    """Two augmentations vote for one grid, one for another; confidence is the mean of sigmoid(q_halt)."""
    truth = np.array([[1, 2]], np.uint8)
    puzzles = {"t": {"train": [], "test": [{"input": [[3]], "output": truth.tolist()}]}}
    votes = Votes(puzzles, ["<blank>", "t"])
    inputs = np.stack([encode(np.array([[3]], np.uint8))] * 3)
    preds = np.stack([encode(np.array([[5]], np.uint8)), encode(truth), encode(truth)])
    votes.add(np.array([1, 1, 1]), inputs, preds, np.array([3.0, 0.0, 2.0], np.float32))
    (best, second), *_ = votes.tally()["t"]
    assert votes.submission()["t"][0]["attempt_1"] == truth.tolist() and (best["votes"], second["votes"]) == (2, 1)
    assert best["confidence"] == pytest.approx((0.5 + 1 / (1 + math.exp(-2))) / 2)
    assert second["confidence"] == pytest.approx(1 / (1 + math.exp(-3)))


def test_a_grid_is_drawn_cell_by_cell_and_described() -> None:
    drawn = grid([[0, 0, 3], [1, 2, 2]], "input")
    assert 'aria-label="input: 2 × 3 cells; black, blue, red, green"' in drawn
    assert drawn.count("<path fill=") == 4, "equal neighbours are one rectangle"
    assert "M0 0h2v1h-2z" in drawn and "M1 1h2v1h-2z" in drawn
    assert "empty" in grid([], "attempt 1")


def test_what_a_run_says_cannot_become_markup(root: Path, manifest: dict[str, Any]) -> None:
    evil = copy.deepcopy(manifest)
    evil["recipe"]["resolved"]["title"] = "<script>alert(1)</script>"
    evil["steps"][0]["said"] = "<img src=x>"
    evil["guards"][0]["detail"] = "</table><b>"
    evil["reasons"] = ["a | b"]
    parsed = Parsed(page(gather(evil, lambda path: root / path)))
    assert not {"script", "img", "b"} & {tag for tag, _ in parsed.tags}


def test_a_faithful_run_says_so(root: Path, manifest: dict[str, Any]) -> None:
    good = copy.deepcopy(manifest)
    good["tool"] |= {"commit": "0" * 40, "clean": True}
    good["recipe"]["resolved"]["faithful"] = True
    good["reasons"] = reasons(good)
    good["faithful"] = not good["reasons"]
    text = page(gather(good, lambda path: root / path))
    assert 'class="verdict good">A faithful reproduction' in text


def test_the_verdict_of_step_6_is_said(root: Path, manifest: dict[str, Any]) -> None:
    verdict = {"verdict": "not comparable", "why": [*manifest["reasons"], "4 tasks are not 120"]}
    text = page(gather(manifest, lambda path: root / path, verdict=verdict))
    assert "Against the published number: not comparable (4 tasks are not 120)." in text


def hidden(root: Path, manifest: dict[str, Any], folder: Path, known: int) -> Facts:
    """The facts of a run on a test set of which only the answers of so many tasks are known."""
    entry = next(e for e in manifest["outputs"] if e["role"] == "test-puzzles")
    puzzles = read_json(root / entry["path"])
    for puzzle in list(puzzles.values())[known:]:
        puzzle["test"] = [{**pair, "output": [[0]]} for pair in puzzle["test"]]
    write_json(folder / "test_puzzles.json", puzzles)
    return gather(manifest, lambda p: folder / "test_puzzles.json" if p == entry["path"] else root / p)


@pytest.mark.parametrize("twin", [page, markdown])
def test_what_nobody_knows_is_in_no_number(root: Path, manifest: dict[str, Any], tmp_path: Path, twin: Any) -> None:
    none = copy.deepcopy(manifest)
    none["metrics"] = {"step": 70}  # as the manifest of such a run has it
    facts = hidden(root, none, tmp_path, 0)
    said = twin(facts)
    for what in {result.what for result in RESULTS.values()}:  # of others' numbers
        said = said.replace(what, "").replace(html.escape(what), "")
    assert "No answers are known: nothing to score." in said and "per task" not in said
    assert not any(name.startswith(("ARC/", "all.exact")) for entry in facts.evaluations for name in entry)
    said = twin(hidden(root, manifest, tmp_path, 1))
    assert "of 1 tasks" in said and "without a known answer: counted in no number" in said


def test_what_is_strange_is_said(root: Path, manifest: dict[str, Any]) -> None:
    leaky = copy.deepcopy(manifest)
    next(step for step in leaky["steps"] if step["step"] == "04-dataset")["said"] = (
        "built; leaks: 1 of 5 test pairs stand"
    )
    assert " 1 of 5 test pairs stand. The published" in page(gather(leaky, lambda path: root / path))
    text = page(gather(manifest, lambda path: root / path))
    assert "answers are [[0]], which stands for no answer." in text
    verdict = {"verdict": "reproduced", "why": [], "findings": ["ARC-AGI-1&apos;s were trained on"]}
    text = markdown(gather(manifest, lambda path: root / path, verdict=verdict))
    assert "Note: ARC-AGI-1&apos;s were trained on." in text and "[[0]]" not in text


def test_gpu_hours_and_money(root: Path, manifest: dict[str, Any]) -> None:
    paid = copy.deepcopy(manifest)
    paid["host"]["gpus"] = [{"name": "H100", "memory_bytes": 1, "driver": "1"}] * 8
    paid["knobs"]["GPU_HOUR_USD"] = {"value": "2.5", "default": "2.5"}
    training = next(step for step in paid["steps"] if step["step"] == "05-train")
    training |= {"started": "2026-01-01T00:00:00Z", "finished": "2026-01-03T12:00:00Z"}
    text = page(gather(paid, lambda path: root / path))
    # 60 hours on the two GPUs that the command's two processes used, not on all eight
    assert "120.0 GPU-hours: about $300 at $2.5 an hour" in text and "2 d 12:00:00" in text


def test_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, until=4)
    folder = tmp_path / ".repro/work/checkpoints/Toy-ACT-torch/tiny"
    lines = [{"step": i, "train/lm_loss": 3.0 - i / 10, "train/count": 1.0} for i in range(1, 6)]
    write_text(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 6, "tra')
    for name, value in {**run.environ, "TRM_DIR": str(tmp_path / ".repro/work")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("RECIPE=toy\nRUN_NAME=toy\n"))
    assert main(["report"]) == 0
    assert "artifacts/tiny/report.html" in capsys.readouterr().out
    text = (tmp_path / "artifacts/tiny/report.html").read_text()
    words = Parsed(text).words
    assert "Unfinished: it has stopped before step 05-train" in words and "make all RECIPE=toy RUN_NAME=tiny" in words
    assert "There is no score yet" in words and "Loss" in words
    assert "Unfinished" in (tmp_path / "artifacts/tiny/report.md").read_text()


def test_a_run_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path, until=4)
    write_text(tmp_path / "logs/tiny/05-train.20260131T120000Z.log", "error: out of memory\n")
    for name, value in {**run.environ, "TRM_DIR": str(tmp_path / ".repro/work")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["report"]) == 0
    said = "Unfinished: step 05-train did not come to its end: see logs/tiny/05-train.20260131T120000Z.log"
    assert said in (tmp_path / "artifacts/tiny/report.md").read_text()


def test_a_finished_run_from_the_command_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, manifest: dict[str, Any]
) -> None:
    write_json(root / "artifacts/tiny/manifest.json", manifest)
    environ = {"RUN_NAME": "tiny", "RECIPE": "toy", "TRM_DIR": str(root / ".repro/work")}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(root)
    assert main(["report", "--manifest", "artifacts/tiny/manifest.json"]) == 0
    assert "Not a faithful reproduction" in (root / "artifacts/tiny/report.html").read_text()


def test_a_curve_keeps_the_mean_of_every_stretch() -> None:
    points = thin(list(range(1000)), [float(i % 2) for i in range(1000)], 10)
    assert len(points) == 10 and all(value == 0.5 for _, value in points)
    assert points[0][0] == 49.5
    assert thin([], []) == ()


def test_published_numbers_are_those_of_the_same_puzzles() -> None:
    assert published("arc2")[0].value == 0.078
    assert published("arc2") and "manual" not in " ".join(result.source for result in published("arc2"))
    assert {name.partition("-")[0] for name in RESULTS} == {"arc1", "arc2", "sudoku", "maze", "manual"}
    for result in RESULTS.values():
        assert 0 < result.value < 1 and f"{100 * result.value:.4g}".rstrip("0").rstrip(".") in result.source
    for target in ("arc1", "arc2", "sudoku", "maze"):
        who = [result.who for result in comparable(target)]
        assert who and len(who) == len(set(who)), "a verdict tells them apart by it"
    assert comparable("arc2") and all(result.of == PUBLIC and result.model == "TRM" for result in comparable("arc2"))


def test_the_range_that_is_told_is_that_of_the_published_numbers(facts: Facts) -> None:
    low, high = retrained("arc2") or (0, 0)
    assert (low, high) == (min(r.value for r in comparable("arc2")), max(r.value for r in comparable("arc2")))
    said = f"etrainings by others: {100 * low:.1f} to {100 * high:.1f} %"
    assert said in (HERE / "README.md").read_text() and said in page(facts) and said in markdown(facts)
    assert retrained("manual") is None


def test_the_chart_says_what_each_published_number_is_of(facts: Facts) -> None:
    drawn = intervals(facts.score, facts.others, "arc2")
    for words in (
        "Felix561",
        "pass@2 per test input; upstream&#x27;s, 172 test inputs; one checkpoint alone",
        "version not said",
    ):
        assert words in drawn
    assert "URM" not in drawn and "semi-private" not in drawn, "another model, or tasks that nobody else has"
    assert "URM" in page(facts) and "semi-private" in markdown(facts), "the table has them"


def test_known_points_of_published_runs_stand_beside_a_curve_that_reaches_them() -> None:
    evaluations = [{"step": step, "ARC/pass@2": 0.05} for step in (72_391, 144_783)]
    (drawn,) = [chart for chart in charts({}, evaluations, "arc2") if chart.title.startswith("pass@K")]
    theirs = {curve.name: curve.points for curve in drawn.curves[1:]}
    assert theirs == {
        "domus-magna: pass@2 per task; official, 167 test inputs; alone or voted: not said": ((72_385, 0.0292),),
        "domus-magna: pass@2 per task; upstream's, 172 test inputs; alone or voted: not said": ((72_385, 0.025),),
    }, "pass@1 is not in this run's log, ARC Prize's checkpoint lies beyond its end"
    assert "domus" not in str(charts({}, evaluations, "arc1"))
    assert "domus" not in str(charts({}, [{"step": 64, "ARC/pass@2": 0.05}], "arc2")), "it would squeeze a short curve"
    longer = [{"step": 723_914, "ARC/pass@1": 0.03, "ARC/pass@2": 0.05}]
    assert "one checkpoint alone" in str(charts({}, longer, "arc2"))
    for step, name in POINTS["arc2"]:
        stands = RESULTS[name]
        assert f"{step:,}" in stands.source or (step, stands.who) == (723_914, "Felix561"), "of ARC Prize's step_723914"
        assert RESULTS[name].what.count(";") == 2, "metric, version, whose vote"


def test_known_points_are_not_drawn_beside_a_number_of_other_tasks(
    root: Path, manifest: dict[str, Any], tmp_path: Path
) -> None:
    """The run is of four tasks of ARC-AGI-2; others' numbers are of all 120."""
    lines = tmp_path / "metrics.jsonl"
    write_text(lines, json.dumps({"step": 80_000, "time": "2026-01-31T12:00:03Z", "ARC/pass@2": 0.25}) + "\n")
    entry = next(e for e in manifest["outputs"] if e["role"] == "metrics")

    def drawn(puzzles: Path | None) -> str:
        test = next(e["path"] for e in manifest["outputs"] if e["role"] == "test-puzzles")
        where = {entry["path"]: lines} | ({test: puzzles} if puzzles else {})
        return str(gather(manifest, lambda path: where.get(path, root / path)).charts)

    assert "domus" not in drawn(None) and "0.25" in drawn(None)
    assert "domus" in drawn(tmp_path / "not there"), "where nobody knows the tasks, the recipe says"


# ---- where the number comes from ----


def evaluation(manifest: dict[str, Any], folder: Path, **changes: Any) -> dict[str, Any]:
    """Two checkpoints of the run evaluated afterwards, beside its manifest; the last one by step and by augmentations."""
    outputs = manifest["outputs"]
    weights = [e["sha256"] for role in ("checkpoint", "final-checkpoint") for e in outputs if e["role"] == role]
    of = [{"pass@1 per task": share / 2, "pass@2 per task": share} for share in (0.125, 0.25, 0.5)]
    steps = [
        {"step": i, "accuracy": 0.5, "exact_accuracy": i / 8, "scores": scores, "pooled": of[0]}
        for i, scores in enumerate(of, 1)
    ]
    table = {"tasks": 4, "distinct": [3, 7.5, 9], "rows": [{"augmentations": 1, "scores": of[0]}]}
    table["rows"].append({"augmentations": None, "scores": of[2]})
    first = {"checkpoint": "a", "sha256": weights[0], "supervision_steps": 2, "vote_alone": of[0]}
    last = {"checkpoint": "b", "sha256": weights[-1], "supervision_steps": 3, "trained_with": 2, "vote_alone": of[2]}
    last |= {"accumulated": {"checkpoints": 2, "scores": of[1]}, "by_augmentations": table, "by_step": steps}
    held = {
        "format": "trm-repro/evaluation/v1",
        "dataset": "data",
        "test_inputs_sha256": next(e["sha256"] for e in outputs if e["path"].endswith("test/all__inputs.npy")),
        "one_batch": False,
        "checkpoints": [first, last],
    } | changes
    write_json(folder / FOLDER / FILE, held)
    return held


def test_where_the_number_comes_from_is_shown_beside_the_run(
    facts: Facts, manifest: dict[str, Any], tmp_path: Path
) -> None:
    assert read_origin(tmp_path, manifest) is None and "Where the number comes from" not in page(facts)
    before = copy.deepcopy(manifest)
    evaluation(manifest, tmp_path)
    origin = read_origin(tmp_path, manifest)
    assert origin and [chart.title.partition(":")[0] for chart in origin.charts] == [
        "Alone and accumulated",
        "By number of augmentations",
        "By supervision step",
    ]
    html, text = page(facts, origin), markdown(facts, origin)
    assert "| 3 + | 50.00 | 37.50 | 25.00 | 50.00 | 6.25 | 12.50 |" in text and "| 2 | 50.00 | 25.00 |" in text
    assert "distinct ones of a task: 3 to 9, median 7.5" in text and "no part of what the manifest vouches for" in text
    assert '<th scope="row">1</th><td>6.25</td><td>12.50</td>' in html and "by number of augmentations" in html
    assert "over supervision steps: pass@1, the step alone from 6.25 % to 25 %" in html
    assert ">all</text>" in html and ">augmentations</text>" in html and ">1.5</text>" not in html, "steps are whole"
    assert "the common vote of 2 checkpoints, this the last" in html
    ids = [attributes["id"] for _, attributes in Parsed(html).tags if "id" in attributes]
    assert len(ids) == len(set(ids)) and manifest == before


def test_an_evaluation_of_other_weights_or_inputs_is_not_shown(manifest: dict[str, Any], tmp_path: Path) -> None:
    for changes in ({"test_inputs_sha256": "0" * 64}, {"checkpoints": []}):
        evaluation(manifest, tmp_path, **changes)
        origin = read_origin(tmp_path, manifest)
        assert origin and "of other weights, or of other test inputs" in origin.said
        assert not origin.tables and not origin.charts
    held = evaluation(manifest, tmp_path)
    held["checkpoints"][1]["sha256"] = "0" * 64
    write_json(tmp_path / FOLDER / FILE, held)
    origin = read_origin(tmp_path, manifest)
    assert origin and not origin.charts and not origin.tables, "the first one has nothing to say but its number"


@pytest.mark.parametrize(
    "held", ["", "[]", "{}", '{"format": "trm-repro/evaluation/v9"}', '{"checkpoints": [{}]}', "\xff"]
)
def test_what_is_no_evaluation_is_named_and_the_report_written(
    manifest: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    monkeypatch.setenv("TRM_DIR", str(tmp_path / "work"))
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / FILE).write_text(held, encoding="latin-1")
    html, _ = write_report(manifest, tmp_path, verdict=tmp_path / "verdict.json")
    assert f"Not shown: {FOLDER}/{FILE}" in html.read_text()


# ---- in a real browser ----


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 1100), ("light", 390)])
def test_in_a_browser(facts: Facts, tmp_path: Path, scheme: str, width: int) -> None:
    """Nothing is wider than the screen or too small to read, no table needs scrolling, and the scheme is followed."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    probe = (
        "<script>addEventListener('load',()=>{const s=getComputedStyle(document.body);"
        "const wide=[...document.querySelectorAll('body *')].filter(e=>!e.closest('.scroll,pre,svg')&&"
        "e.getBoundingClientRect().right>innerWidth+1).map(e=>e.tagName);"
        "document.title='PROBE '+JSON.stringify({wide,width:innerWidth,"
        "page:document.documentElement.scrollWidth,paper:s.backgroundColor,text:s.color,"
        "scrolled:[...document.querySelectorAll('.scroll')].filter(e=>!e.closest('details')&&e.scrollWidth>e.clientWidth+1)"
        ".map(e=>e.innerText),smallest:Math.min(...[...document.querySelectorAll('svg text')].map("
        "e=>parseFloat(getComputedStyle(e).fontSize)*e.getScreenCTM().a)),"
        "charts:document.querySelectorAll('figure svg[role=img]').length})})</script></body>"
    )
    # a frame as wide as a phone: headless windows have a least width
    write_text(tmp_path / "report.html", page(facts).replace("</body>", probe))
    frame = (
        f"<iframe id=f src=report.html style='width:{width}px;height:2000px;border:0'></iframe><p id=p></p><script>"
        "f.onload=()=>setTimeout(()=>{p.textContent=f.contentDocument.title},200)</script>"
    )
    write_text(tmp_path / "frame.html", frame)
    flags = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--allow-file-access-from-files"),
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
        *("--virtual-time-budget=3000", "--dump-dom", (tmp_path / "frame.html").as_uri()),
    ]
    done = subprocess.run([chromium, *flags], capture_output=True, text=True, timeout=120)
    found = re.search(r"PROBE (\{.*?\})</p>", done.stdout)
    assert found, done.stdout[-500:] + done.stderr[-2000:]
    seen = json.loads(found[1].replace("&amp;", "&"))
    assert seen["width"] == width and seen["page"] <= width and not seen["wide"], seen
    assert seen["paper"] == ("rgb(13, 17, 23)" if scheme == "dark" else "rgb(255, 255, 255)"), seen
    assert not seen["scrolled"] and seen["smallest"] >= 9, seen
    assert seen["charts"] >= 5 + 4 * 5


def test_the_table_is_that_of_the_committed_attestations() -> None:
    text = table(read_all(HERE / "attestations"))
    assert f"{BEGIN}\n{text}\n{END}" in (HERE / "attestations/README.md").read_text(), "run: make attestations"


def test_both_twins_say_who_vouches_or_that_nobody_does(root: Path, manifest: dict[str, Any]) -> None:
    for signatures, said in (
        ((), "Vouched for by nobody: "),
        (("statement.json.sig",), "Signed (statement.json.sig); by whom"),
    ):
        facts = gather(manifest, lambda path: root / path, signatures=signatures)
        assert said in page(facts) and said in markdown(facts)
