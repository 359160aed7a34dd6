"""A bundle: what is in it, what it says, and that whatever is wrong with it is found."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from publish_support import make_bundle, write_run

from trm_repro.arc.score import Share
from trm_repro.cli import main
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_json, write_json
from trm_repro.provenance.bundle import COVER, METADATA, card_body, read_bundle, write_sums
from trm_repro.provenance.names import kaggle_license, names
from trm_repro.publish import cover
from trm_repro.publish.card import card
from trm_repro.publish.package import package
from trm_repro.recipes.read import read_recipe
from trm_repro.weights.twin import write_safetensors

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("repository")).folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A bundle that a test may break."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def test_names_of_the_seed() -> None:
    called = names("trm_arc2_paper_repro", owner="ada")
    assert called.title == "TRM ARC-AGI-2 Weights (trm_arc2_paper_repro)"
    assert called.id == "ada/trm-arc2-weights-trm-arc2-paper-repro"


@pytest.mark.parametrize(("length", "legal"), [(26, True), (27, False)])
def test_title_limit(length: int, legal: bool) -> None:
    run = "r" * length
    if legal:
        assert len(names(run).title) == 50
    else:
        with pytest.raises(InvariantBroken, match="at most 26"):
            names(run)


@pytest.mark.parametrize(("slug", "legal"), [("a" * 5, False), ("a" * 6, True), ("a" * 50, True), ("a" * 51, False)])
def test_slug_limits(slug: str, legal: bool) -> None:
    if legal:
        assert names("run", slug=slug).slug == slug
    else:
        with pytest.raises(InvariantBroken, match="6–50"):
            names("run", slug=slug)


def test_slug_is_normalised_and_checked() -> None:
    assert names("run", slug="My_Weights__v1.5").slug == "my-weights-v1-5"
    with pytest.raises(InvariantBroken, match="letters, digits"):
        names("run", slug="weights/évil")
    with pytest.raises(InvariantBroken, match="KAGGLE_USERNAME"):
        names("run", owner="<your_kaggle_username>")


def test_every_problem_of_a_name_is_listed_at_once() -> None:
    with pytest.raises(InvariantBroken) as error:
        names("r" * 60, slug="b%d")
    assert all(word in str(error.value) for word in ("title", "3 characters", "letters, digits"))


def test_licenses() -> None:
    assert kaggle_license("cc-by-4.0") == "CC-BY-4.0"
    with pytest.raises(InvariantBroken, match="MIT"):
        kaggle_license("MIT")


def test_names_verb_prints_shell_assignments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "names", "--run-name", "my_run", "--slug", "", "--username", "ada"]) == 0
    script = capsys.readouterr().out + 'printf "%s|%s" "$title" "$slug"'
    shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown == "TRM ARC-AGI-2 Weights (my_run)|trm-arc2-weights-my-run"


def test_names_verb_refuses_with_exit_4_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "names", "--run-name", "x" * 40]) == 4
    assert "hint:" in capsys.readouterr().err


def test_bundle_holds_what_the_issue_names(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {
        *(
            "model.ckpt",
            "model.safetensors",
            "all_config.yaml",
            "identifiers.json",
            "dataset.sha256",
            "submission.json",
        ),
        *("manifest.json", "SHA256SUMS", "README.md", "dataset-metadata.json", "dataset-cover-image.png"),
        *("trm_repro-0.1.0-py3-none-any.whl", "kaggle.sha256"),
    }


def test_sums_are_sha256sums_and_leave_out_kaggles_settings(made: Path) -> None:
    for sums in ("SHA256SUMS", "kaggle.sha256"):
        subprocess.run(["sha256sum", "--check", "--strict", sums], cwd=made, check=True, capture_output=True)
    assert not {METADATA, COVER} & set((made / "SHA256SUMS").read_text().split())


def test_metadata_is_the_seeds(made: Path) -> None:
    metadata = read_json(made / METADATA)
    assert metadata["title"] == "TRM ARC-AGI-2 Weights (tiny_run)"
    assert metadata["id"] == "ada/trm-arc2-weights-tiny-run"
    assert metadata["licenses"] == [{"name": "CC-BY-4.0"}]
    described = {resource["path"]: resource["description"] for resource in metadata["resources"]}
    assert described.keys() == {path.name for path in made.iterdir()} - {METADATA, COVER, "SHA256SUMS", "kaggle.sha256"}
    assert all(described.values())


def test_submission_is_the_last_one(made: Path) -> None:
    assert read_json(made / "submission.json")["00000001"][0]["attempt_2"] == [[5]]


@pytest.mark.parametrize("name", ["model.ckpt", "mixed"])
def test_the_twin_is_what_the_safetensors_library_writes(
    made: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import save_file

    checkpoint = made / "model.ckpt"
    if name == "mixed":  # one of each dtype, empty and scalar ones among them, a name with a quote
        checkpoint = tmp_path / name
        kinds = ("bool", "uint8", "float16", "bfloat16", "int32", "float32", "float64", "int64")
        state = {f'{kind} "{size}"': torch.ones(size, dtype=getattr(torch, kind)) for kind in kinds for size in (0, 3)}
        torch.save({**state, "scalar": torch.tensor(1.5)}, checkpoint)
    monkeypatch.setattr("trm_repro.weights.twin.SOON", 0)
    write_safetensors(checkpoint, tmp_path / "ours")
    assert "writing ours: " in capsys.readouterr().err
    save_file(torch.load(checkpoint, weights_only=True), tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_safetensors_twin_is_equal(made: Path) -> None:
    import torch
    from safetensors.torch import load_file

    state, twin = torch.load(made / "model.ckpt", weights_only=True), load_file(made / "model.safetensors")
    assert state.keys() == twin.keys()
    assert all(torch.equal(state[name], twin[name]) and state[name].dtype == twin[name].dtype for name in state)


def test_dataset_digests_are_relative_to_the_dataset(made: Path) -> None:
    assert [line.split()[1] for line in (made / "dataset.sha256").read_text().splitlines()] == [
        "identifiers.json",
        "train/dataset.json",
    ]


def test_wheel_installs_and_runs_without_internet(made: Path, tmp_path: Path) -> None:
    wheel = next(made.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    code = "import trm_repro, sys; print(trm_repro.__file__); from trm_repro.cli import parser; parser()"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.startswith(str(tmp_path))


def test_wheel_is_the_same_whenever_it_is_written(tmp_path: Path) -> None:
    from trm_repro.publish.wheel import write_wheel

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = write_wheel(tmp_path / "a"), write_wheel(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()


def test_cover_has_the_size_kaggle_crops_to(made: Path) -> None:
    from PIL import Image

    with Image.open(made / COVER) as picture:
        assert picture.size == (560, 280)


def test_a_cover_is_told_from_anothers_in_its_middle_square_and_shows_no_empty_answer(tmp_path: Path) -> None:
    """Of 40 digests each pattern is another, with both mirrors; it stands in the square that a thumbnail keeps."""
    from PIL import Image

    digests = [hashlib.sha256(bytes([number])).hexdigest() for number in range(40)]
    patterns = [cover.pattern(digest) for digest in digests]
    assert len({str(cells) for cells in patterns}) == 40
    for cells in patterns:
        assert cells == cells[::-1] == [row[::-1] for row in cells] and len({c for row in cells for c in row}) >= 3
    plain, rich = [[0, 0], [0, 0]], [[1, 2], [3, 4]]
    assert cover.telling([plain, [[5, 5]], rich, [[1, 2]]]) == [rich, [[1, 2]]]
    seen = []
    for number, (digest, grids) in enumerate([(digests[0], [plain]), (digests[0], []), (digests[1], [rich])]):
        cover.write_cover(tmp_path / f"{number}.png", ["TRM Weights", "a_run_" * 20], digest, grids)
        with Image.open(tmp_path / f"{number}.png") as picture:
            seen.append(picture.convert("RGB").crop((195, 15, 365, 190)).tobytes())
            beside = picture.convert("RGB").crop((0, 0, 140, 190))
            assert len(beside.getcolors(1 << 20) or []) > 3, "nothing stands beside the pattern"
    assert seen[0] == seen[1] != seen[2]


def test_card_of_a_faithful_run(made: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(made / "README.md")
    assert card_body(card.content).splitlines()[0].startswith("**A faithful reproduction**")
    assert card.data.license == "cc-by-4.0"
    found = {result.metric_name: result.metric_value for result in card.data.eval_results}
    assert found == {"pass@2 per task": 0.078, "all.exact_accuracy": 0.05}
    assert "| pass@2 per task | 7.800 % |" in card.text
    assert "torchrun for one GPU" in card.text


def test_card_has_both_metrics_as_scored_again(tmp_path: Path) -> None:
    manifest = read_json(write_run(tmp_path))
    shares = {
        "pass@2 per task": Share(3.5, 120, "tasks").as_json(),
        "pass@2 per test input": Share(5, 167, "test inputs").as_json(),
    }
    verdict = {"scores": shares, "tasks": "ARC-AGI-2 evaluation, THE VERSION", "unknown": 2, "findings": ["odd"]}
    text = card(manifest, title="T", license="MIT", files=[], verdict=verdict)
    assert "| pass@2 per task | 2.917 % | 3.5 of 120 tasks | 1.07 to 7.68 % |" in text
    assert "| pass@2 per test input | 2.994 % | 5 of 167 test inputs | 1.29 to 6.82 % |" in text
    assert "ARC's are of ARC-AGI-2 evaluation, THE VERSION. 2 test inputs without a known answer" in text
    assert "Note: odd." in text and "metric_name: pass@2 per test input" in text.replace(
        "name: pass@2", "metric_name: pass@2"
    )
    manifest["metrics"] = {}
    text = card(manifest, title="T", license="MIT", files=[], verdict={"scores": {}, "unknown": 2})
    assert "No answers are known: nothing to score." in text


@pytest.mark.parametrize(
    ("recipe", "repository"), [("trelis-arc2", "TrelisResearch/TinyRecursiveModels"), ("nvarc-pretrain", "1ytic/NVARC")]
)
def test_card_names_the_code_base_that_trained_and_its_license(tmp_path: Path, recipe: str, repository: str) -> None:
    resolved = read_recipe(RECIPES, recipe)
    path = write_run(tmp_path, engine="upstream")
    assert resolved.upstream
    manifest = read_json(path)
    manifest["recipe"]["resolved"] = resolved.model_dump(exclude={"name"})
    manifest["upstream"] = resolved.upstream.model_dump(include={"url", "commit", "tree"})
    text = card(manifest, title="t", license="CC-BY-4.0", files=[])
    assert f"[{repository}](https://github.com/{repository}) at commit `{resolved.upstream.commit}`" in text
    assert ("no license file, so all rights are its authors'" in text) == (recipe == "nvarc-pretrain")


def test_card_of_an_unfaithful_run_says_so_first(tmp_path: Path) -> None:
    made = make_bundle(tmp_path, faithful=False)
    assert not made.faithful
    first = card_body((made.folder / "README.md").read_text()).splitlines()[0]
    assert first.startswith("**NOT A FAITHFUL REPRODUCTION**") and "the recipe is not faithful" in first
    assert made.metadata["description"].startswith("**NOT A FAITHFUL")
    assert made.metadata["subtitle"].startswith("NOT a faithful")


def test_upstreams_licence_is_kept(tmp_path: Path) -> None:
    manifest = write_run(tmp_path, engine="upstream")
    (tmp_path / "trm").mkdir()
    (tmp_path / "trm/LICENSE").write_text("MIT")
    made = package(manifest, tmp_path / "out", repository=tmp_path, trm_dir=tmp_path / "trm")
    assert (made.folder / "LICENSE.upstream").read_text() == "MIT"


def test_packaging_again_gives_the_same_bytes(tmp_path: Path) -> None:
    manifest = write_run(tmp_path)
    first = package(manifest, tmp_path / "out", repository=tmp_path).digests
    assert package(manifest, tmp_path / "out", repository=tmp_path).digests == first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


def test_paths_in_an_external_trm_dir(tmp_path: Path) -> None:
    manifest = write_run(tmp_path)
    content = read_json(manifest)
    for entry in content["outputs"]:
        entry["path"] = entry["path"].replace(".repro/work/", "$TRM_DIR/")
    write_json(manifest, content)
    with pytest.raises(UsageError, match="TRM_DIR"):
        package(manifest, tmp_path / "out", repository=tmp_path)
    package(manifest, tmp_path / "out", repository=tmp_path, trm_dir=tmp_path / ".repro/work")


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    manifest = write_run(tmp_path)
    checkpoint = next(tmp_path.rglob("step_20"))
    checkpoint.write_bytes(checkpoint.read_bytes() + b"x")
    with pytest.raises(InvariantBroken, match=r"step_20: changed since the manifest"):
        package(manifest, tmp_path / "out", repository=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_vanished_file_is_refused(tmp_path: Path) -> None:
    manifest = write_run(tmp_path)
    next(tmp_path.rglob("all_config.yaml")).unlink()
    with pytest.raises(MissingPrerequisite, match=r"all_config\.yaml"):
        package(manifest, tmp_path / "out", repository=tmp_path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    from trm_repro.digests import digest_file

    manifest = write_run(tmp_path)
    checkpoint = next(tmp_path.rglob("step_20"))
    checkpoint.write_bytes(b"not a checkpoint")
    content = read_json(manifest)
    content["outputs"][0]["sha256"] = digest_file(checkpoint).sha256
    write_json(manifest, content)
    with pytest.raises(InvariantBroken, match="not a checkpoint"):
        package(manifest, tmp_path / "out", repository=tmp_path)


def test_a_foreign_folder_is_never_replaced(tmp_path: Path) -> None:
    manifest = write_run(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not a bundle"):
        package(manifest, tmp_path / "out", repository=tmp_path)
    assert (tmp_path / "out/thesis.tex").exists()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "model.ckpt").unlink(), "model.ckpt missing"),
        (lambda folder: (folder / "identifiers.json").unlink(), "missing: identifiers.json"),
        (lambda folder: (folder / "notes.txt").write_text("x"), "extra: notes.txt"),
        (lambda folder: (folder / "submission.json").write_text("{}"), "different: submission.json"),
        (lambda folder: (folder / COVER).write_bytes(b"x"), "different: dataset-cover-image.png"),
        (lambda folder: (folder / ".gitattributes").write_text("x"), "extra: .gitattributes"),
        (lambda folder: (folder / "deep").mkdir(), "extra: deep: a bundle has files only"),
        (lambda folder: (folder / "SHA256SUMS").write_text("abc\n"), "not a line of sha256sum"),
    ],
)
def test_validate_finds(bundle: Path, break_it: object, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "validate", str(bundle)]) == 0
    break_it(bundle)  # type: ignore[operator]
    assert main(["publish", "validate", str(bundle)]) in (3, 4)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": "short"}, "5 characters"),
        ({"title": "x" * 51}, "51 characters"),
        ({"subtitle": "too short"}, "20–80"),
        ({"id": "ada/has_underscore"}, "owner/slug"),
        ({"id": "trm-weights"}, "owner/slug"),
        ({"licenses": []}, "exactly one license"),
        ({"licenses": [{"name": "MIT"}]}, "not one of Kaggle's"),
        ({"resources": [{"path": "gone.bin"}]}, "gone.bin, which is not here"),
    ],
)
def test_validate_finds_what_kaggle_would_refuse(bundle: Path, change: dict[str, object], message: str) -> None:
    write_json(bundle / METADATA, json.loads((bundle / METADATA).read_text()) | change)
    write_sums(bundle)
    with pytest.raises(InvariantBroken, match=message):
        read_bundle(bundle)


def test_validate_finds_a_card_that_boasts(bundle: Path) -> None:
    manifest = read_json(bundle / "manifest.json")
    write_json(bundle / "manifest.json", manifest | {"faithful": False})
    write_sums(bundle)
    with pytest.raises(InvariantBroken, match="the card must begin with"):
        read_bundle(bundle)
