"""Two runs side by side; attestations are written once, checked whole, and shown in one table."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from proof_support import HERE, make_bundle, make_run, the_manifest

from trm_repro.cli import main
from trm_repro.errors import InvariantBroken, ReproError, UsageError
from trm_repro.files import read_json, write_json, write_text
from trm_repro.provenance.attest import BEGIN, END, attest, put_table, read_all, read_attestation, table
from trm_repro.provenance.compare import DIFFERENT, IDENTICAL, NOT_COMPARABLE, TOO_LITTLE, WITHIN, compare
from trm_repro.provenance.schema import BYTES
from trm_repro.provenance.verify import ALTERED, CANNOT_TELL, VERIFIED, verify


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    return make_bundle(make_run(root), root / "bundle")


@pytest.fixture
def manifest(bundle: Path) -> dict[str, Any]:
    return dict(read_json(bundle / "manifest.json"))


def changed(manifest: dict[str, Any], change: Any) -> dict[str, Any]:
    other = copy.deepcopy(manifest)
    change(other)
    return other


def output(manifest: dict[str, Any], role: str) -> dict[str, Any]:
    return [entry for entry in manifest["outputs"] if entry["role"] == role][-1]


# ---- compare ----


def test_a_run_made_twice_is_bit_identical_whatever_its_name(manifest: dict[str, Any], tmp_path: Path) -> None:
    other = the_manifest(make_run(tmp_path, name="another"))
    found = compare(manifest, other)
    assert found.word == IDENTICAL and found.exit_code == 0, str(found)
    assert not found.differences["outputs"] and not found.differences["numbers"]


def test_another_seed_gives_other_weights_and_is_seen(manifest: dict[str, Any], tmp_path: Path) -> None:
    found = compare(manifest, the_manifest(make_run(tmp_path, seed=1)))
    assert found.word == TOO_LITTLE, "2 of 4 tasks"
    assert any("final-checkpoint" in what for what, *_ in found.differences["outputs"])


def weights(manifest: dict[str, Any]) -> None:
    output(manifest, "final-checkpoint")["sha256"] = "0" * 64


def score(value: float, of: int = 120) -> Any:
    def set_score(manifest: dict[str, Any]) -> None:
        weights(manifest)
        manifest["metrics"]["ARC/pass@2"] = value
        output(manifest, "test-puzzles")["rows"] = of

    return set_score


@pytest.mark.parametrize(
    ("a", "b", "word"),
    [
        (0.078, 0.062, WITHIN),
        (0.078, 0.1014, WITHIN),
        (0.078, 0.02, DIFFERENT),  # as a last checkpoint of others did, against 7 to 8 %
        (0.078, 0.20, DIFFERENT),
    ],
)
def test_numbers_are_compared_by_their_intervals(manifest: dict[str, Any], a: float, b: float, word: str) -> None:
    one, other = changed(manifest, score(a)), changed(manifest, score(b))
    output(other, "submission")["sha256"] = "1" * 64
    found = compare(one, other)
    assert found.word == word and found.exit_code == (1 if word == DIFFERENT else 0), str(found)
    assert f"{100 * a:.2f} %" in found.why


@pytest.mark.parametrize(
    ("a", "b", "of", "why"),
    [
        (0.0, 0.0, 2, "a run that solves nothing can have up to 65.8 %"),
        (0.0, 0.0, 120, "a run that solves nothing can have up to 3.1 %"),
        (0.5, 0.5, 4, "a 95 % interval spans 70 points"),
        (1.0, 1.0, 2, "a 95 % interval spans 66 points"),
    ],
)
def test_agreement_that_means_nothing_is_not_called_within_tolerance(
    manifest: dict[str, Any], a: float, b: float, of: int, why: str
) -> None:
    one, other = changed(manifest, score(a, of)), changed(manifest, score(b, of))
    output(other, "submission")["sha256"] = "1" * 64
    found = compare(one, other)
    assert found.word == TOO_LITTLE and found.exit_code == 3 and why in found.why, str(found)


def test_other_tasks_cannot_be_compared(manifest: dict[str, Any]) -> None:
    other = changed(manifest, lambda m: output(m, "test-puzzles").update(sha256="0" * 64))
    found = compare(manifest, other)
    assert found.word == NOT_COMPARABLE and found.exit_code == 3


def test_no_number_cannot_be_compared(manifest: dict[str, Any]) -> None:
    def unfinished(manifest: dict[str, Any]) -> None:
        weights(manifest)
        manifest["metrics"] = {}

    assert compare(manifest, changed(manifest, unfinished)).word == NOT_COMPARABLE


def test_a_number_that_is_none_cannot_be_compared(manifest: dict[str, Any]) -> None:
    other = changed(manifest, lambda m: m["metrics"].update({"ARC/pass@2": {"a": 1}}))
    output(other, "submission")["sha256"] = "1" * 64
    assert compare(manifest, other).word == NOT_COMPARABLE


def test_an_unknown_number_of_tasks_cannot_be_compared(manifest: dict[str, Any]) -> None:
    one = changed(manifest, lambda m: output(m, "test-puzzles").pop("rows"))
    assert compare(one, changed(one, weights)).word == NOT_COMPARABLE


@pytest.mark.parametrize(
    ("part", "what", "change"),
    [
        ("inputs", "arc-tasks", lambda m: m["inputs"][0].update(sha256="0" * 64)),
        ("settings", "recipe.train.batch", lambda m: m["recipe"]["resolved"]["train"].update(batch=32)),
        ("settings", "command of 05-train", lambda m: m["commands"][-1]["argv"].append("lr=1")),
        ("settings", "PYTHONHASHSEED", lambda m: m["commands"][-1]["env"].update(PYTHONHASHSEED="1")),
        ("settings", "G-PYTHON", lambda m: m["guards"][1].update(outcome="overridden", detail="x")),
        ("environment", "host.kernel", lambda m: m["host"].update(kernel="another")),
        ("environment", "package numpy", lambda m: numpy(m).update(version="9")),
        ("numbers", "ARC/pass@1", lambda m: m["metrics"].update({"ARC/pass@1": 0.9})),
    ],
)
def test_what_differs_is_named_in_its_part(manifest: dict[str, Any], part: str, what: str, change: Any) -> None:
    found = compare(manifest, changed(manifest, change))
    assert any(what in name for name, *_ in found.differences[part]), str(found)
    assert not any(lines for name, lines in found.differences.items() if name != part)


def numpy(manifest: dict[str, Any]) -> dict[str, Any]:
    return next(e for e in manifest["versions"]["tool"]["distributions"] if e["name"] == "numpy")


def runs(manifest: dict[str, Any], *scores: float) -> list[dict[str, Any]]:
    made = [changed(manifest, score(value)) for value in scores]
    for number, run in enumerate(made):
        output(run, "submission")["sha256"] = str(number) * 64
    return made


def test_the_verdict_comes_first(manifest: dict[str, Any]) -> None:
    assert str(compare(manifest, manifest)).startswith(IDENTICAL)


def test_what_a_manifest_says_steers_no_terminal(manifest: dict[str, Any]) -> None:
    other = copy.deepcopy(manifest)
    other["run"]["name"] = "x\x1b]0;y\x07\nBIT-IDENTICAL"
    other["host"]["cpu"] = "\x1b[31m"
    text = str(compare(manifest, other))
    assert "\x1b" not in text and "\nBIT" not in text and r"x\x1b]0;y\x07\nBIT-IDENTICAL" in text


def test_many_runs_have_a_mean_with_its_interval_and_a_spread(manifest: dict[str, Any]) -> None:
    found = compare(*runs(manifest, 0.06, 0.08, 0.10))
    # by hand: mean 8, s = 2, t(2) = 4.303, half = 4.303 · 2 / √3 = 4.97
    assert found.word == WITHIN and found.together == (
        "mean 8.00 % (95 % interval 3.03 to 12.97 %), standard deviation 2.00, from 6.00 to 10.00 %",
    )
    assert [run.rpartition(" (")[0][-6:] for run in found.runs] == ["6.00 %", "8.00 %", "0.00 %"]


def test_a_run_apart_from_the_rest_is_named(manifest: dict[str, Any]) -> None:
    found = compare(*runs(manifest, 0.08, 0.085, 0.075, 0.08, 0.0))
    assert found.word == DIFFERENT and "A and E, B and E, C and E, D and E" in found.why
    assert [line for line in found.together if "outlier: E, " in line and "0.00 %" in line]
    assert not any("outlier" in line for line in compare(*runs(manifest, 0.08, 0.085, 0.075, 0.08)).together)


def test_a_difference_says_who_holds_which_value(manifest: dict[str, Any]) -> None:
    other = changed(manifest, lambda m: m["host"].update(kernel="another"))
    found = compare(manifest, other, manifest, other)
    (line,) = found.differences["environment"]
    assert line == ("host.kernel", manifest["host"]["kernel"], "another", manifest["host"]["kernel"], "another")
    assert f"  host.kernel\n    A, C: {manifest['host']['kernel']}\n    B, D: another" in str(found)


def test_packages_of_one_version_from_other_files_are_one_line(manifest: dict[str, Any]) -> None:
    def installed_elsewhere(manifest: dict[str, Any]) -> None:
        for entry in manifest["versions"]["tool"]["distributions"]:
            entry["record"] = "0" * 64
        numpy(manifest)["version"] = "9"

    found = compare(manifest, changed(manifest, installed_elsewhere)).differences["environment"]
    assert [line[0] for line in found if "numpy" in line[0]] == ["package numpy"]
    assert len(found) == 2 and "this alone means nothing" in found[-1][0]


def test_one_run_alone_is_not_compared(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(bundle)]) == 2
    assert "name two or more" in capsys.readouterr().err


def test_compare_reads_bundles_and_manifests(bundle: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["compare", str(bundle), str(bundle / "manifest.json")]) == 0
    assert "BIT-IDENTICAL" in capsys.readouterr().out
    assert main(["compare", str(bundle), str(tmp_path)]) == 3
    assert "no manifest.json there" in capsys.readouterr().err


# ---- attest ----


@pytest.fixture
def attested(bundle: Path, tmp_path: Path) -> Path:
    return attest(bundle, tmp_path / "attestations", by="ada@example.org", note="a rehearsal", report="# Report\n")


def test_an_attestation_is_small_and_holds_no_weights(attested: Path) -> None:
    assert {path.name for path in attested.iterdir()} == {
        *("manifest.json", "statement.json", "bundle.sha256", "verdict.txt", "report.md", "attestation.json")
    }
    assert sum(path.stat().st_size for path in attested.iterdir()) < 200_000
    assert attested.name.startswith("tiny-")
    assert "CONSISTENT, vouched for by nobody" in (attested / "verdict.txt").read_text()
    assert read_attestation(attested).record["by"] == "ada@example.org"


def test_a_run_is_attested_once(attested: Path, bundle: Path) -> None:
    with pytest.raises(UsageError, match="attested already"):
        attest(bundle, attested.parent, by="eve")


def test_what_is_not_verified_is_not_attested(bundle: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    write_text(copied / "README.md", "")
    with pytest.raises(ReproError, match=r"README\.md"):
        attest(copied, tmp_path / "attestations", by="eve")
    assert not (tmp_path / "attestations").exists()


def test_any_change_to_an_attestation_is_found_and_named(attested: Path) -> None:
    for path in sorted(attested.iterdir()):
        if path.name == "attestation.json":
            continue
        held = path.read_bytes()
        path.write_bytes(held + b" ")
        with pytest.raises(InvariantBroken, match=path.name):
            read_attestation(attested)
        path.unlink()
        with pytest.raises(InvariantBroken, match=path.name):
            read_attestation(attested)
        path.write_bytes(held)
    write_text(attested / "extra", "")
    with pytest.raises(InvariantBroken, match="extra: extra"):
        read_attestation(attested)


def test_an_attestation_cannot_be_renamed(attested: Path) -> None:
    moved = attested.rename(attested.with_name("tiny-000000000000"))
    with pytest.raises(InvariantBroken, match="folder's name"):
        read_attestation(moved)


def test_a_bundle_is_held_against_its_attestation(bundle: Path, attested: Path, tmp_path: Path) -> None:
    assert verify(bundle, attestation=attested).word == VERIFIED
    assert str(verify(bundle, attestation=attested)).startswith(
        f"VERIFIED, vouched for by the attestation {attested.name}: "
    )
    root = tmp_path / "other"
    other = make_bundle(make_run(root, seed=1), root / "bundle")
    verdict = verify(other, attestation=attested)
    assert verdict.word == ALTERED and f"not the one that {attested.name} attests" in str(verdict)
    assert verify(bundle, attestation=tmp_path).word == CANNOT_TELL


def test_the_attestation_of_another_run_says_nothing_of_this_one(attested: Path, tmp_path: Path) -> None:
    other = make_bundle(make_run(tmp_path / "other", name="another"), tmp_path / "bundle")
    verdict = verify(other, attestation=attested)
    assert verdict.word == CANNOT_TELL and f"{attested.name} attests another run (tiny@" in verdict.headline


def test_the_table_goes_between_its_marks(attested: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    write_text(readme, f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_table(readme, table(read_all(attested.parent)))
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| run |") and text.endswith(f"{END}\nafter\n") and "old" not in text
    assert f"({attested.name}/)" in text and "pass@2 per task 50.00 %" in text and "a rehearsal" in text
    put_table(readme, table(read_all(attested.parent)))
    assert readme.read_text() == text
    write_text(readme, "nothing\n")
    with pytest.raises(InvariantBroken, match="no place"):
        put_table(readme, "")


def test_the_command_line_attests_and_lists(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["attest", str(bundle), "--by", "ada", "--output", str(tmp_path / "all")]
    assert main(words) == 0 and main(words) == 2
    assert main(["attestations", str(tmp_path / "all")]) == 0
    assert "| ada, 20" in capsys.readouterr().out


def test_a_record_of_another_format_is_refused(attested: Path) -> None:
    record = read_json(attested / "attestation.json")
    write_json(attested / "attestation.json", {**record, "format": "trm-repro/attestation/v9"})
    with pytest.raises(InvariantBroken, match="v9"):
        read_attestation(attested)


def test_the_committed_attestations_are_whole() -> None:
    for found in read_all(HERE / "attestations"):
        assert found.record["by"]


def test_what_is_no_run_is_named_and_never_read_whole(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "DOWNLOAD"), "zip", bundle))
    assert main(["compare", str(bundle), str(archive)]) == 4
    said = capsys.readouterr().err
    assert said.startswith(f"error: {archive}: manifest: not valid JSON") and "an archive is unpacked first" in said
    with archive.open("r+b") as file:
        file.truncate(BYTES + 1)
    assert main(["compare", str(bundle), str(archive)]) == 4
    assert f"error: {archive}: larger than {BYTES:,} bytes" in capsys.readouterr().err
