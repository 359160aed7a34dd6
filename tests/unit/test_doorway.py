"""The doorway between bash and Python: what the steps write as JSON, and what a verb loads before it answers."""

import gc
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from trm_repro.cli import NEW_OBJECTS, main
from trm_repro.provenance.host import host
from trm_repro.recipes.shell import assignments
from trm_repro.runs.records import RECORDED, SECRET, masked, read

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "tests/golden/bundles/v1"
HEAVY = ("torch", "numba", "pandas", "omegaconf", "hydra")
WORDS = [
    "plain",
    "",
    "it's",
    'a "quote"',
    "back\\slash",
    "a\tb\nc\rd",
    "\x01\x1b[0m\x7f",
    "é × 𝄞",
    "\u2028",
    "$(false) `false` *",
]


def recorded(folder, script, **environ):
    """What ``lib/run.bash`` records of a script's calls: commands, guards."""
    told = {
        "STEP": "05-train",
        "RUN_STATE": str(folder),
        "HOST": json.dumps(host()),
        "RECORDED": RECORDED,
        "SECRET": SECRET,
    }
    root = shlex.quote(str(ROOT))
    text = f"set -eu\nsource {root}/env.sh\nsource {root}/lib/run.bash\n{assignments(told)}\n{script}"
    clean = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environ}
    subprocess.run(["bash", "-c", text, "record", *WORDS], env=clean, check=True, timeout=30)
    return read(folder / "commands.jsonl"), read(folder / "guards.jsonl")


def test_a_command_is_recorded_word_for_word_with_its_machine(tmp_path):
    began = "2026-01-31T12:00:09Z"
    (one, two), _ = recorded(tmp_path, f'record_command "a b" {began} 5 "$@"\nrecord_command . {began} 0 true')
    assert one["argv"] == WORDS and two["argv"] == ["true"]
    assert (one["step"], one["cwd"], one["started"], one["exit_code"]) == ("05-train", "a b", began, 5)
    assert began < one["finished"] and one["host"] == host()


def test_a_guard_is_recorded(tmp_path):
    _, (guard,) = recorded(tmp_path, "record_guard G-MACHINE broken 'falls \"short\"'")
    assert (guard["step"], guard["guard"], guard["outcome"]) == ("05-train", "G-MACHINE", "broken")
    assert guard["detail"] == 'falls "short"' and guard["started"].endswith("Z")


def test_variables_that_matter_are_recorded_and_secrets_are_not(tmp_path):
    environ = {
        **dict.fromkeys(("CUBLAS_WORKSPACE_CONFIG", "LD_PRELOAD", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS"), ""),
        **dict.fromkeys(
            ("PYTHONHASHSEED", "PYTHONPATH", "TORCHDYNAMO_DISABLE", "TRITON_CACHE_DIR", "NCCL_ALGO"), 'a "b"'
        ),
    }
    ignored = {"HOME": "/home/ada", "TORCH_TOKEN": "secret", "CUDA_LICENSE_KEY": "secret", "EDITOR": "vi"}
    (one,), _ = recorded(tmp_path, "record_command . 2026-01-31T12:00:09Z 0 true", **environ, **ignored)
    assert one["env"] == environ


ADDRESSES = {
    "https://u:pw@h/x": "https://********@h/x",
    "a https://pw@h b ssh://git@h/x": "a https://********@h b ssh://git@h/x",
    "ssh://u:pw@h": "ssh://********@h",
    "http_proxy=http://a:pw@c,https://d:pw@f": "http_proxy=http://********@c,https://********@f",
    "https://u:pw@pw@h/x y": "https://********@h/x y",
    "https://u:pw'pw\"@h": "https://********@h",
    "https://u:pw/raw@h/x": "https://********@h/x",
    "https://u:pw\udcff@h": "https://********@h",
    "https://h:80/p@x git@h:x @://": "https://h:80/p@x git@h:x @://",
}


def test_a_password_in_an_address_is_masked_alike_by_shell_and_python(tmp_path):
    assert {address: masked(address) for address in ADDRESSES} == ADDRESSES
    words = [os.fsencode(address) for address in ADDRESSES]
    script = 'for word; do masked "$word"; printf "%s\\0" "$REPLY"; done'
    done = subprocess.run(
        ["bash", "-c", f"source {shlex.quote(str(ROOT))}/env.sh; {script}", "masks", *words],
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert os.fsdecode(done.stdout).split("\0")[:-1] == list(ADDRESSES.values())


def test_a_password_in_an_address_is_recorded_nowhere(tmp_path):
    leak = "http://ada:pw@proxy:1"
    script = f"record_command {leak} 2026-01-31T12:00:09Z 0 git clone {leak}\nrecord_guard G-X broken 'from {leak}'"
    recorded(tmp_path, script, NCCL_PROXY=leak)
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "pw" not in text and text.count("http://********@proxy:1") == 4


LIGHT = [
    ["--help"],
    ["step", "begin", "05-train"],
    ["step", "begin", "03-venv", "--dry-run"],
    ["step", "fresh"],
    ["step", "preflight"],
    ["doctor"],
    ["step", "estimate"],
    ["status"],
    ["watch", "--once"],
    ["recipe", "list"],
    ["recipe", "show", "arc2-paper"],
    ["job", "slurm"],
    ["verify", "BUNDLE"],
    ["audit", "BUNDLE"],
    ["compare", "BUNDLE", "BUNDLE"],
    ["submission", "check", "BUNDLE/submission.json", "--tasks", "tasks.json"],
    ["tasks", "info", "tasks.json"],
    ["attestations"],
    ["report", "--manifest", "BUNDLE/manifest.json", "--output", "report"],
    ["publish", "names", "--run-name", "a_run"],
    ["publish", "validate", "BUNDLE"],
]


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_a_verb_loads_nothing_that_it_does_not_compute_with(tmp_path, words):
    words = [word.replace("BUNDLE", str(BUNDLE)) for word in words]
    script = (
        "import sys\nfrom trm_repro.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        f"print(code, sorted(set(sys.modules) & set({HEAVY})), file=sys.stderr)"
    )
    submission = json.loads((BUNDLE / "submission.json").read_text())
    tasks = {task: {"train": [], "test": [{"input": [[1]]} for _ in answers]} for task, answers in submission.items()}
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    for name in ("recipes", "steps", "machines", "locks", "attestations"):
        (tmp_path / name).symlink_to(ROOT / name)
    env = script_environment(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    code, loaded = done.stderr.splitlines()[-1].split(maxsplit=1)
    assert loaded == "[]"
    assert code in ("0", "None") or words[1] == "preflight", done.stderr


def script_environment(folder):
    """The knobs of the paper's run, on a machine that nobody has set up, as env.sh has them."""
    print_all = 'source "$0" && export "${KNOBS[@]}" && env -0'
    clean = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "KNOBS_WITHOUT_LOCAL": "1",
        "TRM_DIR": str(folder / "trm"),
    }
    listed = subprocess.run(
        ["bash", "-c", print_all, str(ROOT / "env.sh")],
        env=clean,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return dict(pair.split("=", 1) for pair in listed.stdout.split("\0")[:-1])


def test_words_that_are_no_utf_8_are_recorded_and_read_as_text(tmp_path):
    ((command,), _) = recorded(tmp_path, "record_command . 2026-01-31T12:00:09Z 0 printf $'a\\xffb'")
    assert command["argv"] == ["printf", "a\ufffdb"]


def test_what_a_step_is_told_is_not_exported_whatever_the_user_exports(tmp_path):
    script = assignments({"HOST": "{}", "TRAIN": ["a", "b"]}) + 'printf "%s " "$HOST" "${TRAIN[@]}"; env'
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "HOST": "mine", "TRAIN": "x"}, capture_output=True, text=True
    )
    said, *left = done.stdout.splitlines()
    assert said.startswith("{} a b ")
    assert not [line for line in left if line.startswith(("HOST=", "TRAIN="))]


def test_a_ctrl_c_before_a_verb_begins_is_no_traceback(monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("trm_repro.cli.parser", interrupted)
    assert main([]) == 130 and capsys.readouterr().err == "error: interrupted\n"


def test_a_verb_seldom_looks_for_cyclic_garbage(capsys):
    before = gc.get_threshold()
    try:
        assert main(["help"]) == 0 and gc.get_threshold()[0] == NEW_OBJECTS
    finally:
        gc.set_threshold(*before)
