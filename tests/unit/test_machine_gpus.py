"""The one reader of GPUs: what nvidia-smi says in any state of a machine, and what a CUDA program would see of it."""

import itertools
import os
import shlex
import time
from pathlib import Path

import pytest
from training_support import gone

from trm_repro.machine import ask as asking
from trm_repro.machine import hardware
from trm_repro.machine.gpu_rules import no_gpus
from trm_repro.machine.hardware import Gpu, graphics
from trm_repro.machine.visible import Device, choose
from trm_repro.machine.words import say

MIB = 1 << 20
ROW = "NVIDIA H100 80GB HBM3, 81559, 580.95.05, 9.0, {used}, {n}, 0, GPU-{n}a2b-0000, {mig}"
LIST = "GPU {n}: NVIDIA H100 80GB HBM3 (UUID: GPU-{n}a2b-0000)"


class Smi:
    """A stub that follows a plan: (glob of its words, what it prints, its exit code), and notes what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.path, self.calls = folder / "nvidia-smi", folder / "calls"

    def plan(self, *answers: tuple[str, str, int]) -> None:
        cases = "".join(f"{glob}) printf %s {shlex.quote(text)}; exit {code};;\n" for glob, text, code in answers)
        calls = shlex.quote(str(self.calls))
        self.path.write_text(f'#!/bin/sh\necho "$*" >>{calls}\ncase "$*" in\n{cases}esac\nexit 99\n')
        self.path.chmod(0o755)


@pytest.fixture
def smi(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(asking, "HUNG", set())
    monkeypatch.setattr(hardware, "SYS", tmp_path / "sys")
    return Smi(tmp_path)


def rows(count, mig=(), used=4):
    return "".join(ROW.format(n=n, used=used, mig="Enabled" if n in mig else "Disabled") + "\n" for n in range(count))


def seen(**environ):
    return graphics(environ)


def test_all_fields_are_read(smi):
    smi.plan(("--query-gpu*", rows(1, used=12).replace(" 0, 0, GPU", " 3, 97, GPU"), 0))
    (gpu,) = seen().visible
    assert gpu == Gpu("NVIDIA H100 80GB HBM3", 81559 * MIB, "580.95.05", (9, 0), 12 * MIB, 3, 97, "GPU-0a2b-0000")


@pytest.mark.parametrize(
    ("text", "memory", "used", "capability"),
    [
        ("Tesla V100-SXM2-16GB, 16160, 450.80.02\n", 16160, None, None),
        ("NVIDIA GeForce RTX 4090, 24564, 560.94, 8.9, [Insufficient Permissions]\r\n", 24564, None, (8, 9)),
        ("NVIDIA GB10, [N/A], 580.95.05, 12.1, [N/A], 0, 0\n", None, None, (12, 1)),
        ("NVIDIA H100, [Not Supported], 580.95.05, [Unknown Error], ERR!, 0, [N/A]\n", None, None, None),
        ("NVIDIA H100, 0, 580.95.05, 9.0, 0\n", None, 0, (9, 0)),
    ],
)
def test_what_nvidia_smi_does_not_know_is_none_and_the_gpu_is_there(smi, text, memory, used, capability):
    smi.plan(("--query-gpu*", text, 0), ("-L", "", 0))
    (gpu,) = seen().visible
    assert gpu.memory == (memory * MIB if memory else None)
    assert gpu.used == (used if used is None else used * MIB)
    assert gpu.capability == capability
    assert seen().complaint == ""


def test_a_driver_that_does_not_know_a_field_is_asked_without_it(smi):
    refused = 'Field "{}" is not a valid field to query.\n\n'
    smi.plan(
        ("*mig.mode*", refused.format("mig.mode.current"), 2),
        ("*compute_cap*", refused.format("compute_cap"), 2),
        ("--query-gpu*", "Tesla V100-SXM2-16GB, 16160, 450.80.02, 7, 0, 0, GPU-1\n", 0),
    )
    (gpu,) = seen().visible
    assert (gpu.memory, gpu.used, gpu.uuid) == (16160 * MIB, 7 * MIB, "GPU-1")


def test_an_error_about_every_field_ends(smi):
    smi.plan(("--query-gpu*", 'Field "name" is not a valid field to query.', 2))
    assert "is not a valid field" in seen().complaint


COMPLAINTS = [
    ("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.144", 18, "reboot"),
    (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure it is running.",
        9,
        "modprobe",
    ),
    ("Failed to initialize NVML: GPU access blocked by the operating system", 17, "WSL"),
    ("Failed to initialize NVML: Insufficient Permissions", 4, "/dev/nvidia"),
    ("Failed to initialize NVML: Unknown Error", 255, "container"),
    ("Unable to determine the device handle for GPU0000:01:00.0: GPU is lost.  Reboot the system", 15, "Xid"),
    ("No devices were found", 6, "--gpus all"),
    ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", 12, "install the driver"),
    ("nvidia-smi: error while loading shared libraries: libnvidia-ml.so.1: cannot open", 127, "install the driver"),
    ("complete nonsense \x1b[1m\xff, and more", 1, "by hand"),
    ("No devices were found", 0, "--gpus all"),
    ("", 3, "by hand"),
    ("", 0, "by hand"),
]


@pytest.mark.parametrize(("text", "code", "help"), COMPLAINTS)
def test_its_own_sentence_is_passed_on_with_its_cure(smi, text, code, help):
    smi.plan(("*", text, code))
    found = seen()
    line = say(no_gpus(found, ["NVIDIA"], {}))
    assert found.visible == []
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert words[:60] in line.found
    assert help in line.remedy
    assert "no NVIDIA GPU" not in line.found and "there is no nvidia-smi" not in line.found


@pytest.mark.parametrize(
    ("script", "said"), [("kill -SEGV $$", "SIGSEGV"), ("exec 2>&1; echo cut, 1, 58; kill -9 $$", "SIGKILL")]
)
def test_one_that_is_killed_is_told_of(smi, script, said):
    smi.path.write_text(f"#!/bin/sh\n{script}\n")
    smi.path.chmod(0o755)
    assert said in seen().complaint and not seen().visible


def test_a_program_that_is_no_program_is_told_of(smi):
    smi.path.write_bytes(b"\x7fELFgarbage")
    smi.path.chmod(0o755)
    assert "cannot be run" in seen().complaint


def test_bytes_that_are_no_text_do_no_harm(smi):
    smi.path.write_text("#!/bin/sh\nprintf '\\377\\376 garbage\\n'\n")
    smi.path.chmod(0o755)
    assert "garbage" in seen().complaint


def test_one_that_hangs_is_given_up_with_a_word_and_not_asked_again(smi, monkeypatch, capsys):
    smi.path.write_text('#!/bin/sh\nsleep 60 & echo $! >"$0.child"; wait\n')
    smi.path.chmod(0o755)
    monkeypatch.setattr(asking, "PATIENCE", 1.0)
    monkeypatch.setattr(asking, "NOTICE", 0.5)
    began = time.monotonic()
    found = seen()
    assert time.monotonic() - began < 30
    assert (found.visible, found.why) == ([], "silent") and "did not answer" in found.complaint
    assert "nvidia-smi has not answered yet" in capsys.readouterr().err
    assert gone([int(Path(f"{smi.path}.child").read_text())]), "what it started ends"
    smi.plan(("--query-gpu*", rows(1), 0))
    assert not seen().visible, "it is not asked again, so that nothing waits for it twice"
    monkeypatch.setattr(asking, "HUNG", set())
    monkeypatch.setenv(asking.SILENT, "nvidia-smi")
    assert seen().why == "silent"


def test_a_lost_gpu_is_told_of_and_the_others_are_used(smi):
    lost = "[GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost]\n"
    smi.plan(("--query-gpu*", rows(1) + lost, 0), ("-L", "", 0))
    assert [gpu.name for gpu in seen().visible] == ["NVIDIA H100 80GB HBM3"]
    assert "GPU is lost" in seen().complaint
    smi.plan(
        ("--query-gpu*", rows(2) + "Unable to determine the device handle for GPU2: 0000:41:00.0: Unknown Error\n", 15)
    )
    assert len(seen().visible) == 2 and "Unable to determine" in seen().complaint


@pytest.mark.parametrize(
    ("variable", "numbers", "wrong"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6, 7], ""),
        ("", [], ""),
        ("-1", [], ""),
        ("6,7", [6, 7], ""),
        ("7,6", [7, 6], ""),
        (" 1 , 2 ", [1, 2], ""),
        ("0,0", [], "twice"),
        ("0,9,1", [0], "'9'"),
        ("0,-1,1", [0], ""),
        ("99", [], "'99'"),
        ("NoDevFiles", [], "'NoDevFiles'"),
        ("GPU-3a", [3], ""),
        ("GPU-3a2b-0000,GPU-1a", [3, 1], ""),
        ("GPU-", [], "several"),
        ("GPU-3a,GPU-3a2b", [], "twice"),
        ("GPU-ffff", [], "'GPU-ffff'"),
        ("GPU-3a,1", [3], "'1'"),
        ("1,GPU-3a", [1], "'GPU-3a'"),
        ("MIG-nothing", [], "'MIG-nothing'"),
    ],
)
@pytest.mark.parametrize("says_uuid", [True, False])
def test_cuda_visible_devices_decides(smi, variable, numbers, wrong, says_uuid):
    listing = "".join(LIST.format(n=n) + "\n" for n in range(8))
    text = rows(8) if says_uuid else "".join(", ".join(row.split(", ")[:5]) + "\n" for row in rows(8).splitlines())
    smi.plan(("--query-gpu*", text, 0), ("-L", listing, 0))
    found = seen() if variable is None else seen(CUDA_VISIBLE_DEVICES=variable)
    assert [gpu.index for gpu in found.visible] == numbers
    assert wrong in found.choice.wrong and bool(wrong) == bool(found.choice.wrong)
    if not numbers:
        line = say(no_gpus(found, ["NVIDIA"], {}))
        assert f"CUDA_VISIBLE_DEVICES='{variable}'" in line.found and "none of 8" in line.found


def test_the_choice_is_that_of_torch(monkeypatch):
    torch_cuda = pytest.importorskip("torch.cuda")
    uuids = ["GPU-aa11", "GPU-aa22", "GPU-bb33", "GPU-cc44"]
    words = ["0", "1", "3", "4", "-1", "", "x", "1x", " 2", "+1", "GPU-aa", "GPU-aa1", "GPU-bb33", "GPU-zz", "GPU-"]
    boards = [Device(number, uuid) for number, uuid in enumerate(uuids)]
    for count in (1, 2, 3):
        for chosen in itertools.product(words, repeat=count):
            variable = ",".join(chosen)
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
            wanted = torch_cuda._parse_visible_devices()
            if wanted and isinstance(wanted[0], str):
                wanted = torch_cuda._transform_uuid_to_ordinals(wanted, uuids)
            else:
                wanted = list(itertools.takewhile(lambda number: number < len(uuids), wanted))
            found = choose(os.environ, boards, [], alike=True)
            assert [device.board for device in found.devices] == wanted, variable


MIG = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0a2b-0000)
  MIG 3g.40gb     Device  0: (UUID: MIG-aaaa-1)
  MIG 1g.10gb     Device  1: (UUID: MIG-bbbb-2)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-1a2b-0000)
  MIG 1g.10gb+me  Device  0: (UUID: MIG-GPU-1a2b-0000/1/0)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-2a2b-0000)
"""


@pytest.mark.parametrize(
    ("variable", "name", "memory"),
    [
        (None, "MIG 3g.40gb", 40),
        ("0", "MIG 3g.40gb", 40),
        ("2", "", 81.559 * 1.048576),
        ("1,2", "MIG 1g.10gb+me", 10),
        ("MIG-bbbb", "MIG 1g.10gb", 10),
        ("MIG-bbbb-2,MIG-aaaa-1", "MIG 1g.10gb", 10),
        ("MIG-GPU-1a2b-0000/1/0", "MIG 1g.10gb+me", 10),
        ("GPU-1a2b", "MIG 1g.10gb+me", 10),
    ],
)
@pytest.mark.parametrize("says_mig", [True, False])
def test_of_mig_one_slice_is_seen_and_its_memory_counts(smi, variable, name, memory, says_mig):
    text = rows(3, mig=(0, 1))
    if not says_mig:
        text = "".join(", ".join(row.split(", ")[:5]) + "\n" for row in text.splitlines())
    smi.plan(("--query-gpu*", text, 0), ("-L", MIG, 0))
    (gpu,) = (seen() if variable is None else seen(CUDA_VISIBLE_DEVICES=variable)).visible
    assert gpu.name.endswith(name) and (" MIG " in gpu.name) == bool(name)
    assert gpu.memory == pytest.approx(memory * 10**9, rel=0.001)


def test_a_gpu_that_does_not_tell_its_memory_for_an_error_is_told_of(smi):
    smi.plan(("--query-gpu*", rows(2).replace("81559", "[Unknown Error]", 1), 0))
    found = seen()
    assert len(found.visible) == 2
    assert found.complaint.startswith("GPU 0: NVIDIA H100 80GB HBM3 [Unknown Error]")


def test_without_a_list_nobody_knows_the_slices(smi):
    smi.plan(("--query-gpu*", rows(1, mig=(0,)), 0), ("-L", "Insufficient Permissions", 4))
    found = say(no_gpus(seen(), (), {}))
    assert "0 usable; nvidia-smi says: Insufficient Permissions" in found.found


def test_mig_without_a_slice_is_no_gpu(smi):
    smi.plan(("--query-gpu*", rows(1, mig=(0,)), 0), ("-L", LIST.format(n=0) + "\n", 0))
    assert "without a slice" in say(no_gpus(seen(), [], {})).found


def test_of_mixed_gpus_chosen_by_number_the_smallest_decide(smi):
    text = "NVIDIA H100, 81559, 580.1, 9.0, 0, 0, 0, GPU-1, Disabled\nNVIDIA L4, 23034, 580.1, 8.9, 0, 1, 0, GPU-2, Disabled\n"
    smi.plan(("--query-gpu*", text, 0))
    found = seen(CUDA_VISIBLE_DEVICES="0")
    assert found.choice.unordered and found.visible[0].name == "NVIDIA L4"
    found = seen(CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID")
    assert not found.choice.unordered and found.visible[0].name == "NVIDIA H100"
    assert seen(CUDA_VISIBLE_DEVICES="GPU-1").visible[0].name == "NVIDIA H100"


@pytest.mark.parametrize(
    ("vendors", "environ", "said", "help"),
    [
        ([], {}, "there is no nvidia-smi", "make rehearse"),
        (["0x1002"], {}, "AMD", "make rehearse"),
        (["0x8086"], {}, "Intel", "make rehearse"),
        (["0x10de", "0x8086"], {}, "an NVIDIA GPU is here", "driver"),
        ([], {"NVIDIA_VISIBLE_DEVICES": "void"}, "NVIDIA_VISIBLE_DEVICES=void", "--gpus all"),
    ],
)
def test_without_nvidia_smi_what_is_there_is_said(smi, vendors, environ, said, help):
    for number, vendor in enumerate(vendors):
        device = hardware.SYS / f"bus/pci/devices/0000:0{number}:00.0"
        device.mkdir(parents=True)
        (device / "class").write_text("0x030200\n")
        (device / "vendor").write_text(f"{vendor}\n")
    others = [maker for maker in hardware.other_gpus() if not Path("/dev/kfd").exists() or maker != "AMD"]
    line = say(no_gpus(graphics({}), others if vendors != ["0x1002"] else ["AMD"], environ))
    assert said in line.found and help in line.remedy
    assert "CUDA" in line.why or "without GPUs" in line.why


def test_apple_is_known(monkeypatch):
    monkeypatch.setattr(hardware.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "arm64")
    assert hardware.other_gpus() == ["Apple"]


QUERY = """
==============NVSMI LOG==============

Timestamp                                 : Tue May 20 10:00:00 2025
Driver Version                            : 580.95.05
Attached GPUs                             : 1
GPU 00000000:1B:00.0
    Product Name                          : NVIDIA H100 80GB HBM3
    Persistence Mode                      : Enabled
    GPU UUID                              : GPU-0a2b-0000
    Fabric
        State                             : In Progress
        Status                            : N/A
    Clocks Event Reasons
        HW Slowdown                       : Not Active
            HW Thermal Slowdown           : Active
    ECC Mode
        Current                           : Enabled
        Pending                           : Disabled
    Processes
        Process ID                        : 4711
            Type                          : C
            Name                          : /usr/bin/python3
"""


def test_what_nvidia_smi_says_at_length_is_read_by_headings(smi):
    smi.plan(("-q", QUERY, 0))
    (found,) = hardware.health()
    assert found["Fabric/State"] == ["In Progress"]
    assert found["Clocks Event Reasons/HW Slowdown/HW Thermal Slowdown"] == ["Active"]
    assert found["Processes/Process ID/Name"] == ["/usr/bin/python3"]
    for text, code in (("garbage : x\n", 0), ("", 0), (QUERY, 9)):
        smi.plan(("-q", text, code))
        assert hardware.health() is None


def test_the_links_between_gpus_are_read(smi):
    text = "\t\x1b[4mGPU0\tGPU1\tNIC0\tCPU Affinity\x1b[0m\nGPU0\t X \tNV18\tPIX\t0-47\n"
    text += "GPU1\tNV18\t X \tSYS\t0-47\n\nLegend:\n  X = Self\n"
    smi.plan(("topo*", text, 0))
    assert hardware.topology() == [["X", "NV18"], ["NV18", "X"]]
