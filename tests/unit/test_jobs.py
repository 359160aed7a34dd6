"""The job files and the scripts that run a recipe on other machines."""

import base64
import functools
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from trm_repro.machine.jobs import job, slurm_time
from trm_repro.recipes.bases import list_recipes
from trm_repro.recipes.read import read_recipe

ROOT = Path(__file__).parents[2]
MACHINES = ROOT / "machines"
# sbatch's long options that a job of ours may use (Slurm's manual, sbatch(1))
SBATCH = {
    *("job-name", "nodes", "ntasks", "gpus-per-node", "cpus-per-task", "mem", "time", "requeue", "open-mode", "signal"),
    "output",
}


def made(kind, name, **options):
    recipe = read_recipe(ROOT / "recipes", name)
    return job(kind, recipe, run_name=options.pop("run_name", recipe.run_name), folder=MACHINES, **options)


def directives(text):
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    return dict(line.split("=", 1) if "=" in line else (line, "") for line in lines)


@pytest.mark.parametrize("name", list_recipes(ROOT / "recipes"))
def test_every_recipe_has_a_slurm_job_that_bash_and_sbatch_can_read(name):
    text = made("slurm", name)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    found = directives(text)
    gpus = read_recipe(ROOT / "recipes", name).gpu_count
    assert set(found) == SBATCH - (set() if gpus else {"gpus-per-node"})
    assert found["requeue"] == "" and found["open-mode"] == "append"
    assert int(found.get("gpus-per-node", 0)) == gpus
    assert "$" + "{" not in text.replace("${SLURM_SUBMIT_DIR:?", "").replace("${SLURM_RESTART_COUNT:-", "")


def test_a_job_asks_for_what_the_recipe_needs():
    found = directives(made("slurm", "arc2-paper"))
    assert (found["gpus-per-node"], found["mem"], found["time"]) == (
        "4",
        "32G",
        "4-12:00:00",
    )  # 72 hours and a half more
    sky = yaml.safe_load(made("sky", "alphaxiv-arc1", bucket="mine"))
    assert sky["resources"]["accelerators"] == "A100-80GB:8"
    assert sky["resources"]["disk_size"] == 60
    assert sky["envs"]["RECIPE"] == "alphaxiv-arc1"
    assert sky["file_mounts"]["/kept"]["name"] == "mine"
    assert not any(sky["secrets"].values())


def test_a_bucket_is_mounted_where_that_can_be_and_runpod_has_a_volume():
    bucket, volume = (yaml.safe_load(made("sky", "arc2-paper", **{kept: "mine"})) for kept in ("bucket", "volume"))
    infra = [place["infra"] for place in bucket["resources"]["any_of"]]
    assert infra == ["lambda", "aws", "gcp", "azure"] and "volumes" not in bucket
    assert volume["volumes"] == {"/kept": "mine"} and "file_mounts" not in volume
    assert volume["resources"]["any_of"] == [{"infra": "runpod", "use_spot": True}]
    assert "/kept" in bucket["run"] == volume["run"]


def test_a_job_without_gpus_asks_for_none():
    assert "accelerators" not in yaml.safe_load(made("sky", "arc2-rehearsal"))["resources"]
    assert "gpus-per-node" not in directives(made("slurm", "arc2-rehearsal"))


@pytest.mark.parametrize(("hours", "written"), [(36, "1-12:00:00"), (0.2, "0-01:00:00"), (48, "2-00:00:00")])
def test_hours_as_slurm_writes_them(hours, written):
    assert slurm_time(hours) == written


def test_the_container_runs_make_and_not_as_root():
    lines = (MACHINES / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users and users[-1] not in ("0", "root", "0:0")
    assert any(line.startswith("ENTRYPOINT") and '"make"' in line for line in lines)


@pytest.fixture
def repository(tmp_path):
    """A small repository with the scripts, and a Makefile whose ``all`` has a first step that is done once, and a long one."""
    folder = tmp_path / "repository"
    (folder / "machines").mkdir(parents=True)
    for path in [*MACHINES.glob("*.sh"), ROOT / "env.sh", ROOT / "recipes" / "arc2-paper.yaml"]:
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    (folder / "Makefile").write_text(
        "PYTHON =\n"
        "all: first\n\t@echo second begins; echo $$RECIPE >second.begun; sleep $${SECONDS_OF_WORK:-0}; touch second.done\n"
        "first:\n\t@echo first; touch first\n"
    )
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "GIT_AUTHOR_NAME": "tester",
        "GIT_AUTHOR_EMAIL": "tester@example.invalid",
        "GIT_COMMITTER_NAME": "tester",
        "GIT_COMMITTER_EMAIL": "tester@example.invalid",
    }
    (folder / ".gitignore").write_text("first\nsecond.*\nlogs\nenv.local.sh\n")
    for words in (["init", "--quiet", "-b", "main"], ["add", "."], ["commit", "--quiet", "-m", "a runbook"]):
        subprocess.run(["git", *words], cwd=folder, env=environ, check=True)
    return folder, environ


def begun(path):
    """Waits for a file."""
    for _ in range(2000):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def start(folder, environ, **more):
    return subprocess.Popen(
        ["bash", "job.sh"],
        cwd=folder,
        env={**environ, "SLURM_SUBMIT_DIR": str(folder), **more},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_a_preempted_slurm_job_goes_on_where_it_was(repository, blow):
    folder, environ = repository
    (folder / "job.sh").write_text(made("slurm", "arc2-paper"))
    job_ = start(folder, environ, SECONDS_OF_WORK="60")
    begun(folder / "second.begun")
    worker = int(subprocess.run(["pgrep", "-n", "-P", str(job_.pid)], capture_output=True, text=True).stdout)
    os.kill(job_.pid, blow)
    if blow == signal.SIGKILL:  # Slurm ends the whole job; the shell could not
        os.killpg(worker, signal.SIGKILL)
    assert job_.wait(timeout=100) != 0
    assert not (folder / "second.done").exists()
    assert not subprocess.run(["pgrep", "-r", "R,S,D", "-g", str(worker)], capture_output=True).stdout
    again = start(folder, environ, SLURM_RESTART_COUNT="1")
    out, _ = again.communicate(timeout=100)
    assert again.returncode == 0, out
    assert "attempt 2" in out and "first" not in out.splitlines()
    assert (folder / "second.begun").read_text() == "arc2-paper\n"
    assert (folder / "second.done").exists()


def test_a_slurm_job_warned_again_when_its_training_is_gone_ends_as_the_training_did(repository):
    folder, environ = repository
    (folder / "job.sh").write_text(made("slurm", "arc2-paper"))
    # ends 0.3 s after the first warning; the job looks once a second
    (folder / "Makefile").write_text(
        "all:\n\t@trap 'sleep 0.3; exit 0' INT; touch second.begun; while :; do sleep 0.1; done\n"
    )
    job_ = start(folder, environ)
    begun(folder / "second.begun")
    worker = subprocess.run(["pgrep", "-n", "-P", str(job_.pid)], capture_output=True, text=True).stdout.strip()
    os.kill(job_.pid, signal.SIGTERM)
    while subprocess.run(["pgrep", "-r", "R,S,D", "-g", worker], capture_output=True).stdout:
        time.sleep(0.02)
    os.kill(job_.pid, signal.SIGTERM)
    assert job_.wait(timeout=100) == 128 + signal.SIGINT


def onstart(environ, tmp_path, *words, **more):
    command = ["bash", str(MACHINES / "onstart.sh"), *words]
    return subprocess.run(
        command, env={**environ, "WORKSPACE": str(tmp_path / "workspace"), **more}, capture_output=True, text=True
    )


@pytest.fixture
def programs(tmp_path, repository):
    """A PATH on which all system packages seem to be there."""
    _, environ = repository
    (tmp_path / "programs").mkdir()
    for name in ("g++", "python3.10", "python3.11"):
        (tmp_path / "programs" / name).write_text("#!/bin/sh\n")
        (tmp_path / "programs" / name).chmod(0o755)
    return {**environ, "PATH": f"{tmp_path / 'programs'}:{environ['PATH']}"}


def test_starting_a_container_twice_changes_nothing_that_is_there(repository, programs, tmp_path):
    folder, _ = repository
    place = tmp_path / "workspace" / "trm-repro"
    for _ in range(2):
        done = onstart(programs, tmp_path, REPRO_URL=str(folder), RECIPE="arc2-paper")
        assert done.returncode == 0, done.stderr
        assert (place / "second.done").exists()
        (place / "kept").write_text("by hand")
    assert "first" not in done.stdout.splitlines()
    assert (place / "kept").read_text() == "by hand"


def test_a_container_that_was_killed_while_cloning_clones_again(repository, programs, tmp_path):
    folder, _ = repository
    (tmp_path / "workspace" / "trm-repro.part" / ".git").mkdir(parents=True)
    assert onstart(programs, tmp_path, REPRO_URL=str(folder)).returncode == 0


def test_a_container_needs_to_know_where_the_repository_is(programs, tmp_path):
    done = onstart(programs, tmp_path)
    assert done.returncode == 2
    assert "REPRO_URL" in done.stderr


def test_tokens_come_from_files_and_stay_out_of_files_and_words(repository, programs, tmp_path):
    folder, _ = repository
    token = "planted-token-5f1e"
    (tmp_path / "token").write_text(token + "\n")
    (tmp_path / "workspace").mkdir()
    (folder / "Makefile").write_text("PYTHON =\nall:\n\t@echo key $$WANDB_API_KEY, hub $${GITHUB_TOKEN-none}\n")
    subprocess.run(["git", "commit", "--quiet", "-am", "shows"], cwd=folder, env=programs, check=True)
    files = {"WANDB_API_KEY_FILE": str(tmp_path / "token"), "GITHUB_TOKEN": token}
    done = onstart(programs, tmp_path, REPRO_URL=str(folder), **files, TMPDIR=str(tmp_path / "workspace"))
    assert not list((tmp_path / "workspace").glob("tmp.*"))
    assert done.stdout.strip() == f"key {token}, hub none", done.stderr
    assert token not in done.stderr
    kept = [
        path for path in (tmp_path / "workspace").rglob("*") if path.is_file() and token in path.read_text("latin-1")
    ]
    assert kept == []


def test_a_private_repository_is_cloned_with_a_token_that_nobody_writes_down(repository, programs, tmp_path):
    """From a server that asks for it, as GitHub does; and never from a URL that holds it."""
    folder, _ = repository
    token = "planted-token-90cd"
    for words in (
        ["clone", "--quiet", "--bare", folder, tmp_path / "served"],
        ["-C", tmp_path / "served", "update-server-info"],
    ):
        subprocess.run(["git", *words], env=programs, check=True)
    expected = "Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()

    class Private(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.headers["Authorization"] == expected:
                return super().do_GET()
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.end_headers()

        def log_message(self, *said):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Private, directory=tmp_path / "served")
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}/"
        refused = onstart(programs, tmp_path, REPRO_URL=f"http://{token}@{place}")
        assert refused.returncode == 2 and "give it as GITHUB_TOKEN" in refused.stderr and token not in refused.stderr
        assert onstart(programs, tmp_path, REPRO_URL=f"http://{place}", GITHUB_TOKEN="another").returncode == 128
        for _ in range(2):  # cloned, then pulled
            done = onstart(programs, tmp_path, REPRO_URL=f"http://{place}", GITHUB_TOKEN=token)
            assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
        server.shutdown()
    kept = [path for path in (tmp_path / "workspace").rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if token in path.read_text("latin-1")]


def test_a_distribution_without_python_3_10_is_told_of_and_not_given_up(tmp_path):
    """What apt-get would be asked for is what is missing, and can be had."""
    (tmp_path / "bin").mkdir()
    for name in ("bash", "env", "git", "ps", "python3", "true"):
        (tmp_path / "bin" / name).symlink_to(sys.executable if name == "python3" else shutil.which(name))
    for name, text in {
        "apt-get": f'echo "$*" >>"{tmp_path}/asked"',
        "apt-cache": ":",
        "sudo": 'shift; exec "$@"',
    }.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    done = subprocess.run(
        [MACHINES / "packages.sh"], env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "python3\n"), done.stderr
    assert "no Python 3.10" in done.stderr
    assert (tmp_path / "asked").read_text().splitlines() == [
        "update --quiet=2",
        "install --yes --quiet=2 --no-install-recommends ca-certificates make g++",
    ]


def over_ssh(environ, folder, *words, **more):
    return subprocess.Popen(
        ["machines/ssh.sh", "127.0.0.1", *words],
        cwd=folder,
        env={**environ, "SSH": str(folder.parent / "ssh"), **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def children(process):
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split()]


@pytest.fixture
def remote(repository, tmp_path):
    """Another machine with a home folder of its own: behind a real sshd on the loopback, or, where no sshd is installed,
    a program that stands for ssh. Its last part cuts the connection of a call."""
    folder, environ = repository
    home, program = tmp_path / "elsewhere", tmp_path / "ssh"
    home.mkdir()
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    says = f'#!/bin/bash\necho "$*" >>"{tmp_path}/words"\n'
    program.touch(mode=0o755)
    if not server:
        stands_for = f'shift 3; cd "{home}"; HOME="{home}" exec env -u SSH -u RECIPE -u HF_TOKEN bash -c "$*"\n'
        program.write_text(says + stands_for)
        yield folder, environ, home / "trm-repro", children
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("key", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    lines = [f"Port {port}", "ListenAddress 127.0.0.1", f'HostKey "{tmp_path}/host"', "PidFile none", "UsePAM no"]
    lines += [f'AuthorizedKeysFile "{tmp_path}/key.pub"', "StrictModes no", f'SetEnv "HOME={home}"']
    lines += ['ForceCommand cd "$HOME" && exec bash -c "$SSH_ORIGINAL_COMMAND"']  # it begins in the user's real home
    (tmp_path / "sshd_config").write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    hosts = f"""-o 'UserKnownHostsFile="{tmp_path}/hosts"' -o StrictHostKeyChecking=no"""
    options = f'-F none -i "{tmp_path}/key" -p {port} {hosts}'
    program.write_text(f'{says}exec ssh -q {options} "$@"\n')
    with subprocess.Popen([server, "-D", "-f", tmp_path / "sshd_config", "-E", tmp_path / "sshd.log"]) as daemon:
        yield folder, environ, home / "trm-repro", lambda call: children(daemon)
        daemon.terminate()


def test_a_run_over_ssh_takes_the_files_and_knobs_and_keeps_secrets_off_the_command_line(remote, tmp_path):
    folder, environ, there, _ = remote
    (folder / "uncommitted").write_text("goes too")
    call = over_ssh(environ, folder, RECIPE="arc2-paper", HF_TOKEN="planted-token-77aa")
    out, _ = call.communicate(timeout=100)
    assert call.returncode == 0, out
    assert (there / "second.done").exists()
    assert (there / "uncommitted").read_text() == "goes too"
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True).stdout
    assert subprocess.run(["git", "rev-parse", "HEAD"], cwd=there, capture_output=True, text=True).stdout == head
    assert "planted-token-77aa" in (there / "env.local.sh").read_text()
    assert (there / "env.local.sh").stat().st_mode & 0o777 == 0o600
    assert "planted-token" not in (tmp_path / "words").read_text() + out


def test_a_run_over_ssh_outlives_the_connection_and_is_followed_not_doubled(remote):
    folder, environ, there, connections = remote
    (folder / "Makefile").write_text(
        # a minute at most: a test that fails leaves nothing that waits for ever
        "all:\n\t@echo begun | tee -a begun; timeout 60 sh -c 'until [ -e go ]; do sleep 0.1; done' && touch ended\n"
    )
    lost = over_ssh(environ, folder)
    assert lost.stdout.readline() == "begun\n"  # it follows the log
    for connection in connections(lost):
        os.kill(connection, signal.SIGKILL)
    assert lost.wait(timeout=100) in (255, 128 + signal.SIGKILL)
    again = over_ssh(environ, folder)
    assert "under way" in again.stdout.readline()
    (there / "go").touch()
    out, _ = again.communicate(timeout=100)
    assert again.returncode == 0, out
    assert (there / "begun").read_text() == "begun\n"
    assert (there / "ended").exists()


def test_a_failed_run_over_ssh_is_a_failure_here(remote):
    folder, environ, *_ = remote
    call = over_ssh(environ, folder, "no-such-word")
    out, _ = call.communicate(timeout=100)
    assert call.returncode == 1
    assert "no-such-word" in out
