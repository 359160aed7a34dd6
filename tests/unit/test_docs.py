"""What README and docs/ say to type is run by a test, is there, or is said to need what it needs; links lead somewhere."""

import contextlib
import functools
import io
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from trm_repro import cli

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "attestations/README.md",
    "CHANGELOG.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
TARGETS = set(re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)) | {
    f"step-{n}" for n in range(1, 9)
}
parser = functools.cache(cli.parser)

# Commands of the pages by how they begin: the test that runs them …
RUN = {
    "make rehearse ENGINE=upstream": "bats/rehearsal-upstream.bats: ENGINE=upstream",
    "make rehearse": "bats/rehearsal.bats: make rehearse",
    "trm-repro verify .repro/altered": "bats/rehearsal.bats: the first hour",
    "trm-repro verify .repro/work": "bats/rehearsal.bats: the bundle of a rehearsal verifies",
    "export PATH=": "bats/rehearsal.bats: the first hour",
    "cp -r .repro/work/kaggle_dataset": "bats/rehearsal.bats: the first hour",
    "printf ' ' >>.repro/altered": "bats/rehearsal.bats: the first hour",
    "make status": "bats/rehearsal.bats: the first hour",
    "make report": "bats/rehearsal.bats: the first hour",
    "make plan": "bats/make.bats: make plan shows every command",
    "make env": "bats/make.bats: make env has every knob",
    "make step-1": "bats/make.bats: make step-N runs that step",
    "echo 'KAGGLE_USERNAME=you' >> env.local.sh": "bats/make.bats: the environment wins over env.local.sh",
    "model_signing verify key": "unit/test_proof_openssf.py: def test_",
    "ssh-keygen -Y verify": "unit/test_docs.py: def test_anybody_checks_an_ssh_signature_as_the_page_says",
    "ssh-keygen -e -m PKCS8": "unit/test_proof_openssf.py: ssh-keygen",
}
# … and those that no test here can run, with what they need.
NEEDS = {
    "uvx --from git+": "this repository's address, the network and uv; the wheel, installed by pip: unit/test_install.py",
    "torchrun --nproc-per-node": "GPUs; the same program on a CPU: unit/test_engine_runs.py",
    "torchrun --nnodes": "nodes; two processes: unit/test_engine_nodes.py",
    "sigstore verify identity": "a signature of the public sigstore",
    "model_signing verify sigstore": "a signature of the public sigstore",
}


def blocks(page):
    """The sh blocks of a page, their continued lines joined."""
    text = (ROOT / page).read_text()
    return [
        found.replace("\\\n", " ")
        for found in re.findall(r"^```(?:sh|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]


def commands(page):
    """What the sh blocks of a page say to type: a command a line, its comment and a leading .venv/bin/ left out."""
    lines = [re.sub(r"\s+# .*", "", line).strip() for block in blocks(page) for line in block.splitlines()]
    return [" ".join(line.removeprefix(".venv/bin/").split()) for line in lines if line and not line.startswith("#")]


def spans(page):
    """The commands of make and trm-repro that the text of a page names in passing."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    return [span for span in re.findall(r"`([^`\n]+)`", text) if re.match(r"(make|trm-repro) (?!\w+ v\d)", span)]


def wrong(command):
    """Why a command of make or trm-repro cannot be given as it stands; nothing if it can."""
    command = re.sub(r"[\[\]…]|\s[<>&|].*|;.*", " ", command)
    words = shlex.split(command)
    if words[0] == "make":
        bare = [
            word for word in words[1:] if "=" not in word and not word.startswith("-") and word not in ("N", "step-N")
        ]
        return f"make has no {' '.join(set(bare) - TARGETS)}" if set(bare) - TARGETS else ""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            parser().parse_args(words[1:])
        except SystemExit as end:
            return said.getvalue() if end.code else ""
    return ""


def known_verb(span):
    """Whether the first words of a command in passing are a verb; its arguments may be left out there."""
    found, words = parser(), [word for word in shlex.split(span.replace("…", " ")) if not word.startswith("-")][1:]
    for word in words:
        inside = [action for action in found._actions if getattr(action, "choices", None) and action.dest != "help"]
        below = next((action.choices for action in inside if isinstance(action.choices, dict)), None)
        if below is None:
            return True
        if word not in below:
            return word.isupper() or word == "VERB"
        found = below[word]
    return True


CASES = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), CASES, ids=[f"{page}: {command}"[:70] for page, command in CASES])
def test_a_command_is_run_by_a_test_or_needs_something_or_is_there(page, command):
    if re.match(r"(make|trm-repro) ", command):
        assert not (why := wrong(command)), f"{page}: {command}: {why}"
    else:
        known = any(command.startswith(begin) for begin in [*RUN, *NEEDS])
        assert known, f"{page}: {command}: no test runs it, and nothing says what it needs"


def test_every_entry_is_of_a_command_and_names_a_test_that_is_there():
    given = [command for _, command in CASES]
    for begin in [*RUN, *NEEDS]:
        assert any(command.startswith(begin) for command in given), f"no page says {begin} any more"
    for begin, where in RUN.items():
        name, _, text = where.partition(": ")
        assert text in (ROOT / "tests" / name).read_text(), f"{begin}: {where}"


@pytest.mark.parametrize("page", PAGES)
def test_what_a_text_names_in_passing_is_there(page):
    bad = [span for span in spans(page) if (wrong(span) if span.startswith("make ") else not known_verb(span))]
    assert not bad, page


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("make rehears", "make has no rehears"),
        ("trm-repro verfy X", "verfy"),
        ("trm-repro verify X --signer Y", ""),
        ("trm-repro verify X --never Y", "unrecognized"),
        ("make all RECIPE=arc2-paper FORCE=1", ""),
    ],
)
def test_the_check_sees_what_is_not_there(command, why):
    assert why in wrong(command) if why else not wrong(command)


def test_anybody_checks_an_ssh_signature_as_the_page_says(tmp_path):
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    (command,) = [command for command in commands("docs/format.md") if command.startswith("ssh-keygen -Y verify")]
    shutil.copy(ROOT / "tests/golden/bundles/v1/statement.json", tmp_path)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True, timeout=60)
    assert cli.main(["statement", "sign", str(tmp_path / "statement.json"), "--key", str(tmp_path / "key")]) == 0
    (tmp_path / "allowed_signers").write_text(f"ada@example.org {(tmp_path / 'key.pub').read_text()}")
    for altered, code in ((False, 0), (True, 255)):
        if altered:
            (tmp_path / "statement.json").write_text("{}")
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr


def anchors(page):
    """The anchors of a page's titles, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = [title.lower() for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)]
    named = re.findall(r'id="([^"]+)"', text)
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles} | set(named)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_titles_that_are_there(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text().replace("\n", " ")):
        path, _, anchor = link.partition("#")
        if "://" in link or path.startswith("mailto:"):
            continue
        place = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert place.exists(), f"{page}: {link}"
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place.relative_to(ROOT)), f"{page}: {link}"


def test_every_page_is_in_the_index_and_the_readme_is_a_page():
    index = (ROOT / "docs/README.md").read_text()
    for path in (ROOT / "docs").glob("*.md"):
        assert path.name == "README.md" or f"]({path.name})" in index, path.name
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90
