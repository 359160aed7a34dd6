"""Every knob is held against its rule before anything begins, all at once, and a misspelt name is found wherever it stands."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from trm_repro.cli.knobs import MAKE_WORDS, RULES, SECRETS, check_knobs
from trm_repro.errors import UsageError
from trm_repro.notebook.write import COMPETITION

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def defaults() -> dict[str, str]:
    script = 'source ./env.sh; for name in "${KNOBS[@]}"; do printf "%s=%s\\0" "$name" "${!name}"; done'
    environ = {"PATH": os.environ["PATH"], "KNOBS_WITHOUT_LOCAL": "1"}
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.split("\0")[:-1])


def problems(environ: dict[str, str], local: Path | None = None) -> list[str]:
    try:
        check_knobs(environ, local)
    except UsageError as error:
        assert error.exit_code == 2 and error.hint
        return [line.strip() for line in str(error).splitlines()[1:]]
    return []


def test_every_knob_has_a_rule_and_the_defaults_keep_it(defaults: dict[str, str]) -> None:
    assert defaults.keys() == RULES.keys()
    secrets = re.search(r"^SECRETS=\((.*)\)", (ROOT / "env.sh").read_text(), re.MULTILINE)
    assert secrets and set(secrets[1].split()) == {*SECRETS, "WANDB_API_KEY"}
    assert problems(defaults) == []


def test_the_competition_is_the_notebooks_own_and_another_will_do(defaults: dict[str, str]) -> None:
    assert defaults["KAGGLE_COMPETITION"] == COMPETITION == "arc-prize-2026-arc-agi-2"
    assert RULES["KAGGLE_COMPETITION"]("arc-prize-2025") == ""


def test_makes_own_words_are_known() -> None:
    words = set(
        re.findall(r"\$\((?:filter \w+,\$\(|or \$\(|if \$\()*([A-Z][A-Z_]+)\)", (ROOT / "Makefile").read_text())
    )
    own = {"SHELL", "PYTEST", "BATS", "STEP_N", "MAKEFLAGS", "BASH_FILES", "INSTALL", "LOCKED", "AS_JSON"}
    assert words - own <= set(MAKE_WORDS)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "USE_VENV PUBLISH_TO_KAGGLE PUBLISH_UNFAITHFUL WANDB_TAP CHECK_REMOTE KAGGLE_PUBLIC PUBLISH_TO_HF HF_PUBLIC",
            ["yes", "true", "on", "01", " 1", "2", "１"],
        ),
        ("RUN_NAME", ["a" * 101, "a" * 5000, "../x", "two words", "-dash", "$(date)", ".hidden", "a/b", "ü", ""]),
        ("RECIPE", ["base/samsung", "arc3", "../recipes/arc2-paper", "arc2-paper.yaml"]),
        ("MAX_GPUS_TO_USE", ["0", "-1", "four", "a[$(touch here)]", "1.5", "9" * 5000, "٤"]),
        ("GPU_HOUR_USD", ["abc", "-1", "nan", "inf", "1e400", "2,5", "$2"]),
        ("PUBLISH_TIMEOUT", ["abc", "-1", "1h", "inf"]),
        (
            "KAGGLE_COMPETITION",
            ["", "ARC Prize", "competitions/arc-prize-2025", "https://host/c/x", "-x", "a--b", "ü", "a\nb"],
        ),
        ("ENV_LOCK", ["some", "lock"]),
        ("CUDA_LOCK", ["cu131", "130", "cu130-trelis"]),
        ("DATASET_BUILDER", ["quick", "Exact"]),
        ("PUBLISH_VERIFY", ["size", "none"]),
        ("PUBLISH_LICENSE", ["MIT", "cc"]),
        ("RESUME", ["exact", "1", "yes"]),
        ("HF_REPO_ID", ["weights", "a/b/c", "https://host/a/b"]),
        ("SIGNING_KEY", ["/no/such/key"]),
        ("OVERRIDE", ["G-TRAIN-COMAND", "TRAIN", "G-ENVIRONMENT G-X", "*"]),
        (
            "TRM_REMOTE",
            [
                "--upload-pack=touch here",
                "-x",
                "ext::sh -c 'touch here'",
                "fd::17",
                "ssh://-oProxyCommand=touch/x",
                "-oProxyCommand=touch:x",
                "git@-oProxyCommand=touch:x",
                "ftp://host/x",
                "javascript://x",
                "https:///x",
                "https://u:a/b@host/x",
                "ssh://u:pw@host/x",
                "HTTPS://u:pw@host/x",
                "u:pw@host/x",
                "u:pw@host:x",
                "https://host:99999/x",
                "https://host/x\n--upload-pack=y",
            ],
        ),
        ("TORCH_INDEX_URL", ["https://u:pw@host/x", "host/x", "ext::x"]),
        ("TRM_DIR VENV_DIR KAGGLE_DS_DIR", ["", "-x", "/tmp/" + "a" * 300, "/tmp/a\nb"]),
        ("EXTRA_BUILDER_ARGS EXTRA_TRAIN_ARGS PY KAGGLE_DATASET_SLUG", ["a\udcffb", "a\nb", "\x1b[2J"]),
        ("WANDB_API_KEY", ["two words", "ü"]),
        ("KAGGLE_USERNAME", ["a b", "a/b", "ada@host"]),
        ("TARGET_DATASET", ["../arc2", "arc 2"]),
    ],
)
def test_what_a_knob_cannot_be_is_refused(defaults: dict[str, str], name: str, values: list[str]) -> None:
    for one in name.split():
        for value in values:
            (said,) = problems({**defaults, one: value})
            assert said.startswith(f"{one} is "), said
            assert said.isprintable() and len(said) < 1000
            assert "pw" not in said and (one != "WANDB_API_KEY" or value not in said)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("RUN_NAME", ["a" * 100, "x", "2026-01-31", "A.b_c-d"]),
        ("MAX_GPUS_TO_USE", ["1", "8", "1024"]),
        ("GPU_HOUR_USD", ["0", "2", "2.50"]),
        ("OVERRIDE", ["", "G-TRAIN-COMMAND", "G-NO-ARC1 G-MACHINE", "G-PYTHON,G-ENVIRONMENT"]),
        ("TRM_REMOTE", ["", "/a b/c", "../x", "https://u:p%2Fw@host:8/x", "https://t@host/x", "ssh://git@host/x"]),
        ("TRM_REMOTE", ["git@host:x/y.git", "file:///x", "host:x", "https://[::1]:8/x", "/x:y"]),
        ("KAGGLE_USERNAME", ["", "<your_kaggle_username>", "ada_9"]),
        ("PUBLISH_LICENSE", ["cc0-1.0", "CC-BY-4.0"]),
        ("TRM_DIR", ["/a b/ü", "../x", "x" * 255]),
        ("EXTRA_TRAIN_ARGS", ["it's;$HOME", "+a=[ü]"]),
    ],
)
def test_what_a_knob_can_be_is_taken(defaults: dict[str, str], name: str, values: list[str]) -> None:
    for value in values:
        assert problems({**defaults, name: value}) == []


def test_all_problems_are_told_at_once(defaults: dict[str, str]) -> None:
    environ = {**defaults, "PUBLISH_TO_KAGGLE": "yes", "RUN_NAME": "a b", "PUBLISH_TO_KAGLE": "1", "PUBLISH_TO_HF": "1"}
    assert problems(environ) == [
        "RUN_NAME is 'a b': not safe as a file name: use letters, digits, '.', '_' and '-'",
        "PUBLISH_TO_KAGGLE is 'yes': use 1 or 0",
        "PUBLISH_TO_HF is 1 and HF_REPO_ID is empty: owner/name of the repository there",
        "PUBLISH_TO_KAGLE is set, and no knob has that name: did you mean PUBLISH_TO_KAGGLE?",
    ]


def test_an_unknown_recipe_is_not_blamed_on_what_it_would_have_said(defaults: dict[str, str]) -> None:
    environ = {**defaults, "RECIPE": "arc3", "RUN_NAME": "", "TARGET_DATASET": ""}
    (said,) = problems(environ)
    assert "no recipe 'arc3'; choose one of: " in said and "arc2-paper" in said
    (said,) = problems({**environ, "RECIPE": "arc2-papr"})
    assert "no recipe 'arc2-papr'; did you mean arc2-paper? choose one of: " in said


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PUBLISH_TO_KAGLE", "PUBLISH_TO_KAGGLE"),
        ("PUBLISH_HF", "PUBLISH_TO_HF"),
        ("RUNNAME", "RUN_NAME"),
        ("RECIPES", "RECIPE"),
        ("run_name", "RUN_NAME"),
        ("TRM_DRI", "TRM_DIR"),
        ("MAX_GPU_TO_USE", "MAX_GPUS_TO_USE"),
        ("OVERRIDES", "OVERRIDE"),
    ],
)
def test_a_misspelt_name_is_found_wherever_it_stands(
    defaults: dict[str, str], tmp_path: Path, name: str, meant: str
) -> None:
    (said,) = problems({**defaults, name: "1"})
    assert said.startswith(f"{name} is set") and said.endswith(f"did you mean {meant}?")
    local = tmp_path / "env.local.sh"
    for line in (f"{name}=1\n", f"  export {name}=1 # so\n", f"RECIPE=arc2-paper\n{name}+=1\n"):
        local.write_text(line)
        (said,) = problems(defaults, local)
        assert said.startswith(f"{name} in env.local.sh") and said.endswith(f"did you mean {meant}?")


def test_what_make_was_told_is_looked_at_more_closely(defaults: dict[str, str]) -> None:
    def make(words: str) -> dict[str, str]:
        given = dict(word.split("=") for word in words.split())
        return {**defaults, **given, "MAKEFLAGS": f" --no-print-directory -- {words}", "MAKELEVEL": "1"}

    for words, meant in (
        ("EXTRA_ARGS=x", "EXTRA_TRAIN_ARGS"),
        ("FORC=1", "FORCE"),
        ("KAGGLE_SLUG=x", "KAGGLE_DATASET_SLUG"),
    ):
        (said,) = problems(make(words))
        assert said.endswith(f"did you mean {meant}?")
    assert problems(make("FORCE=yes")) == ["FORCE is 'yes': use 1 or 0"]
    assert problems(make("FORCE=1 RECIPE=arc2-paper CUDA_VISIBLE_DEVICES=0")) == []


def test_what_nothing_sees_is_told(defaults: dict[str, str], tmp_path: Path) -> None:
    local = tmp_path / "env.local.sh"
    local.write_text("GPU_COUNT=4\nHF_TOKEN=x\nBASE=/data\nTRM_DIR=$BASE/trm\nexport NCCL_DEBUG=INFO\n# RUNNAME=x\n")
    said = problems(defaults, local)
    assert [line.partition(" ")[0] for line in said] == ["GPU_COUNT", "HF_TOKEN"] and "write export HF_TOKEN=" in said[
        1
    ]


def test_what_belongs_to_others_is_left_alone(defaults: dict[str, str]) -> None:
    others = """RUNNER_NAME WANDB_TAGS WANDB_NAME WANDB_DIR WANDB_MODE TMPDIR TERM VIRTUAL_ENV HOSTNAME USERNAME PYTHON
        SLURM_JOB_NAME SKYPILOT_TASK_ID RUNPOD_API_KEY HF_HOME HF_ENDPOINT KAGGLE_CONFIG_DIR KAGGLE_IAP_TOKEN KAGGLE_KEY
        CUDA_HOME PYENV_VERSION PIP_INDEX_URL UV_INDEX_URL JOB_NAME RUN_ID TRM_REPRO_STEP TRM_REPRO_LOG VERIFY FORCE YES
        GITHUB_RUN_ID CUDA_VISIBLE_DEVICES http_proxy HTTP_PROXY SSL_CERT_FILE TRM_REPRO_METRICS OLDPWD SHLVL"""
    assert problems({**defaults, **dict.fromkeys(others.split(), "x")}) == []
