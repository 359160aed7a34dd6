"""What a process may use of a machine: the kernel's files, control groups of both versions at every depth, ulimit."""

import contextlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from trm_repro.machine import limits

GB = 10**9


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A machine of 32 GB in files, without groups: (where /proc is, where the control groups are)."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    groups.mkdir()
    (proc / "meminfo").write_text(
        "MemTotal: 32000000 kB\nMemFree: 20000000 kB\nMemAvailable: 30000000 kB\nSwapTotal: 64000000 kB\n"
    )
    monkeypatch.setenv("PROC_ROOT", str(proc))
    monkeypatch.setenv("CGROUP_ROOT", str(groups))
    return proc, groups


def written(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.mark.parametrize("language", ["de_DE:en", "ja", "C"])
def test_the_machine_s_memory_is_read_in_every_language_and_swap_is_none(kernel, monkeypatch, language):
    monkeypatch.setenv("LANGUAGE", language)
    assert limits.memory() == limits.Limit(32_768_000_000, "the machine's")
    assert limits.free_memory() == 30_720_000_000


def test_without_the_kernel_s_files_memory_is_unknown(kernel):
    (kernel[0] / "meminfo").unlink()
    assert limits.memory() is None
    assert limits.free_memory() is None


@pytest.mark.parametrize(
    ("own", "files", "gigabytes", "by"),
    [
        ("0::/", {"memory.max": "max"}, None, ""),
        ("0::/", {"memory.max": 2 * GB}, 2, "group /"),
        ("0::/a/b/c", {"a/memory.max": 3 * GB, "a/b/memory.max": "max", "a/b/c/memory.max": 9 * GB}, 3, "group /a"),
        ("0::/a/b", {"a/b/memory.max": "max", "a/b/memory.high": 4 * GB}, 4, "group /a/b"),
        ("0::/../x", {"memory.max": 5 * GB}, 5, "group /"),
        ("0::/not/there", {"memory.max": 5 * GB}, 5, "group /"),
        ("0::/a", {"unified/a/memory.max": 6 * GB}, 6, "group /a"),
        (
            "4:memory:/slurm/job_7\n0::/",
            {"memory/slurm/memory.limit_in_bytes": 2 * GB, "memory/slurm/job_7/x": ""},
            2,
            "/slurm",
        ),
        ("4:memory:/", {"memory/memory.limit_in_bytes": 9223372036854771712}, None, ""),
        ("4:cpu,memory:/a", {"cpu,memory/a/memory.limit_in_bytes": GB}, 1, "group /a"),
        ("4:memory:/", {"memory/memory.stat": f"cache 0\nhierarchical_memory_limit {GB}"}, 1, "above"),
        ("0::/", {"memory.max": "nonsense"}, None, ""),
        ("5:cpu:/a", {"cpu/a/memory.limit_in_bytes": GB}, None, ""),
    ],
)
def test_every_control_group_on_the_way_up_counts(kernel, own, files, gigabytes, by):
    proc, groups = kernel
    (proc / "self/cgroup").write_text(own + "\n")
    written(groups, files)
    found = limits.memory()
    assert found.amount == (gigabytes * GB if gigabytes else 32_768_000_000)
    assert found.by.endswith(by) or by in found.by


def test_what_only_caches_files_counts_as_free(kernel):
    proc, groups = kernel
    (proc / "self/cgroup").write_text("0::/a\n")
    written(
        groups, {"a/memory.max": 8 * GB, "a/memory.current": 7 * GB, "a/memory.stat": f"anon 1\ninactive_file {3 * GB}"}
    )
    assert limits.free_memory() == 4 * GB


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/a/b", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
        (
            "3:cpu,cpuacct:/a",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": 25000, "cpu,cpuacct/a/cpu.cfs_period_us": 100000},
            0.25,
        ),
        ("3:cpu:/a", {"cpu/a/cpu.cfs_quota_us": -1, "cpu/a/cpu.cfs_period_us": 100000}, None),
    ],
)
def test_a_quota_of_processors_counts_at_every_depth(kernel, own, files, cores):
    proc, groups = kernel
    (proc / "self/cgroup").write_text(own + "\n")
    written(groups, files)
    assert limits.cores().amount == (cores or len(os.sched_getaffinity(0)))


def test_a_limit_of_processes_counts(kernel):
    proc, groups = kernel
    (proc / "self/cgroup").write_text("0::/a/b\n")
    written(groups, {"a/pids.max": 100, "a/b/pids.max": "max"})
    assert limits.processes() == limits.Limit(100, "the limit of the control group /a")


def test_where_a_container_shows_a_part_of_the_tree_the_mount_says_so(kernel, monkeypatch, tmp_path):
    proc, groups = kernel
    monkeypatch.delenv("CGROUP_ROOT")
    (proc / "self/cgroup").write_text("4:memory:/docker/1f/inner\n0::/\n")
    (proc / "self/mountinfo").write_text(f"1 2 0:3 /docker/1f {groups} rw - cgroup cgroup rw,memory\n")
    written(groups, {"memory.limit_in_bytes": 9 * GB, "inner/memory.limit_in_bytes": 7 * GB})
    assert limits.memory().amount == 7 * GB


def test_in_a_mount_that_begins_above_its_namespace_a_process_is_looked_for(kernel, monkeypatch):
    proc, groups = kernel
    monkeypatch.delenv("CGROUP_ROOT")
    (proc / "self/cgroup").write_text("4:memory:/\n")
    (proc / "self/mountinfo").write_text(f"1 2 0:3 /../.. {groups} rw - cgroup cgroup rw,memory\n")
    written(groups, {"a/memory.limit_in_bytes": 7 * GB, "a/b/cgroup.procs": f"1\n{os.getpid()}", "c/cgroup.procs": "1"})
    assert limits.memory() == limits.Limit(7 * GB, "the limit of the control group /a")


@pytest.mark.parametrize("which", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_ulimit_counts(which):
    script = f"import resource; resource.setrlimit({which}, (9 * 10**8, 9 * 10**8))\n"
    script += "from trm_repro.machine import limits; print(limits.memory())"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "amount=900000000" in said and "ulimit" in said


@contextlib.contextmanager
def real_group(controller, settings):
    """A control group of this kernel, two deep: the limit is the outer one's. Skips where none can be made."""
    v1, v2 = Path("/sys/fs/cgroup") / controller, Path("/sys/fs/cgroup")
    version = 1 if v1.is_dir() else 2
    outer = (v1 if version == 1 else v2) / f"trm-repro-test-{os.getpid()}"
    try:
        (outer / "inner").mkdir(parents=True)
        for name, value in settings[version].items():
            (outer / name).write_text(value)
    except OSError as error:
        for folder in (outer / "inner", outer):
            if folder.is_dir():
                folder.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield outer / "inner"
    finally:
        for folder in (outer / "inner", outer):
            folder.rmdir()


@pytest.mark.parametrize(
    ("controller", "settings", "function", "amount"),
    [
        (
            "memory",
            {1: {"memory.limit_in_bytes": "2000000000"}, 2: {"memory.max": "2000000000"}},
            "memory",
            1_999_998_976,
        ),
        ("cpu", {1: {"cpu.cfs_quota_us": "50000"}, 2: {"cpu.max": "50000 100000"}}, "cores", 0.5),
        ("pids", {1: {"pids.max": "77"}, 2: {"pids.max": "77"}}, "processes", 77),
    ],
)
def test_a_real_control_group_counts(controller, settings, function, amount):
    with real_group(controller, settings) as group:
        script = f"from trm_repro.machine import limits; print(limits.{function}().amount)"
        enter = f"echo $$ >{group}/cgroup.procs && exec {sys.executable} -c '{script}'"
        clean = {name: value for name, value in os.environ.items() if name not in ("CGROUP_ROOT", "PROC_ROOT")}
        done = subprocess.run(["bash", "-c", enter], capture_output=True, text=True, timeout=60, env=clean)
        assert float(done.stdout) == amount, done.stderr
