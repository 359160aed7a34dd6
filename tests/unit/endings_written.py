"""Endings of trainings from public reports, reworded and trimmed: text, cause, a word of the next legitimate move.

The rules of trm_repro.training.causes were written with these before them.
"""

HYDRA = """Error executing job with overrides: ['arch=trm', 'data_paths=[data/arc2concept-aug-1000]', 'ema=True']
Traceback (most recent call last):
  File "/w/TinyRecursiveModels/pretrain.py", line 610, in launch
    metrics = train_batch(config, train_state, batch, global_batch_size, rank=RANK, world_size=WORLD_SIZE)
{}

Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.
"""
TABLE = """E0226 10:31:08.101000 4100 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: {code}) local_rank: 2 (pid: 4242) of binary: /w/.venv/bin/python
Traceback (most recent call last):
  File "/w/.venv/bin/torchrun", line 8, in <module>
    sys.exit(main())
  File "/w/.venv/lib/python3.10/site-packages/torch/distributed/launcher/api.py", line 277, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
pretrain.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-02-26_10:31:07
  host      : node
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 4240)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-02-26_10:31:06
  host      : node
  rank      : 2 (local_rank: 2)
  exitcode  : {code} (pid: 4242)
  error_file: <N/A>
  traceback : {said}
============================================================
"""
CHILD = TABLE.format(code=1, said="To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html")
SIGKILL = TABLE.format(code=-9, said="Signal 9 (SIGKILL) received by PID 4242")
PEER = """[rank{0}]: Traceback (most recent call last):
[rank{0}]:   File "/w/TinyRecursiveModels/pretrain.py", line 331, in train_batch
[rank{0}]:     dist.all_reduce(param.grad)
[rank{0}]: torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:3690, remote process exited or there was a network error, NCCL version 2.26.2
[rank{0}]: ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.
[rank{0}]: Last error:
[rank{0}]: socketProgress: Connection closed by remote peer node<50260>
"""
BAR = "\r  6%|▌         | 43001/723914 [3:28:43<94:39:17,  2.37it/s]"

WRITTEN = [
    (HYDRA.format("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.27 GiB. GPU 1 has a total capacity of 23.6 GiB of which 1.2 GiB is free.") + PEER.format(0) + CHILD, "out of GPU memory", "more GPUs"),
    (PEER.format(0) + PEER.format(1) + "[rank3]: Traceback (most recent call last):\n[rank3]:   File \"pretrain.py\", line 12, in f\n[rank3]:     loss.backward()\n[rank3]: torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 3; 79.15 GiB total capacity; 77.2 GiB already allocated)\n" + CHILD, "out of GPU memory", "more GPUs"),
    ("RuntimeError: CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n", "out of GPU memory", "nvidia-smi"),
    ("[rank0]: RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`\n", "out of GPU memory", "nvidia-smi"),
    ("[rank2]: torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:219, unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version 2.19.3\n[rank2]: ncclUnhandledCudaError: Call to CUDA function failed.\n[rank2]: Last error:\n[rank2]: Cuda failure 'out of memory'\n", "out of GPU memory", "nvidia-smi"),
    ("[rank0]: torch.distributed.DistBackendError: NCCL error in: NCCLUtils.hpp:268, unhandled cuda error, NCCL version 2.21.5\n[rank0]: ncclUnhandledCudaError: Call to CUDA function failed.\n[rank0]: Last error:\n[rank0]: Cuda failure 802 'system not yet initialized'\n", "fabric manager", "nvidia-fabricmanager"),
    ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have already set an error? Error 803: system has unsupported display driver / cuda driver combination", "driver and library", "Restart"),
    ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have already set an error? Error 804: forward compatibility was attempted on non supported HW", "driver and library", "cuda-compat"),
    ("  File \"/w/torch/cuda/__init__.py\", line 319, in _lazy_init\n    torch._C._cuda_init()\nRuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version\n", "driver too old", "make step-3"),
    ("RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from http://www.nvidia.com/Download/index.aspx", "no GPU", "--gpus all"),
    ("Traceback (most recent call last):\n  File \"/w/torch/cuda/__init__.py\", line 298, in _lazy_init\n    torch._C._cuda_init()\nRuntimeError: No CUDA GPUs are available\n", "no GPU", "--gpus all"),
    ("RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero.", "CUDA fails", "nvidia-uvm"),
    ("[rank1]: torch.distributed.DistBackendError: NCCL error in: NCCLUtils.hpp:317, invalid usage (run with NCCL_DEBUG=WARN for details), NCCL version 2.21.5\n[rank1]: ncclInvalidUsage: This usually reflects invalid usage of NCCL library.\n[rank1]: Last error:\n[rank1]: Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1b000\n", "too few GPUs", "MAX_GPUS_TO_USE"),
    ("RuntimeError: CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be asynchronously reported at some other API call,so the stacktrace below might be incorrect.\n", "GPU without a kernel", "make step-3"),
    ("[rank1]: torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered\n[rank1]: CUDA kernel errors might be asynchronously reported at some other API call\n", "GPU hardware", "reset or replaced"),
    ("[rank0]:[E1004 11:02:33.717711 ProcessGroupNCCL.cpp:1895] [PG ID 0 PG GUID 0(default_pg) Rank 0] Process group watchdog thread terminated with exception: CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported\nterminate called after throwing an instance of 'c10::DistBackendError'\n  what():  [PG ID 0 PG GUID 0(default_pg) Rank 0] Process group watchdog thread terminated with exception: CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously reported\n", "kernel fault", "once more"),
    ("../aten/src/ATen/native/cuda/Indexing.cu:1308: indexSelectLargeIndex: block: [194,0,0], thread: [32,0,0] Assertion `srcIndex < srcSelectDimSize` failed.\n" + HYDRA.format("RuntimeError: CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported at some other API call"), "index out of range on the GPU", "make step-4"),
    ("[rank0]:   File \"/w/triton/compiler/compiler.py\", line 483, in _init_handles\n[rank0]:     raise OutOfResources(self.metadata.shared, max_shared, \"shared memory\")\n[rank0]: triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 196608, Hardware limit: 101376. Reducing block sizes or `num_stages` may help.\n", "kernel too large for the GPU", "A100"),
    (HYDRA.format("torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:\nOutOfResources: out of resource: shared memory, Required: 81920, Hardware limit: 65536. Reducing block sizes or `num_stages` may help.\n\nSet TORCH_LOGS=\"+dynamo\" and TORCHDYNAMO_VERBOSE=1 for more information\n\n\nYou can suppress this exception and fall back to eager by setting:\n    import torch._dynamo\n    torch._dynamo.config.suppress_errors = True"), "kernel too large for the GPU", "A100"),
    ("[rank0]: torch._inductor.exc.InductorError: PTXASError: PTXAS error: Internal Triton PTX codegen error\n[rank0]: `ptxas` stderr:\n[rank0]: ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'\n\n[rank0]: Repro command: /w/triton/backends/nvidia/bin/ptxas -lineinfo -v --gpu-name=sm_121a /tmp/t.ptx -o /tmp/t.ptx.o\n", "assembler too old for the GPU", "TRITON_PTXAS_PATH"),
    ("RuntimeError: Internal Triton PTX codegen error: \nptxas /tmp/fileuW0cTn, line 6; fatal   : Unsupported .target 'sm_89'\nptxas fatal   : Ptx assembly aborted due to errors\n", "assembler too old for the GPU", "CUDA_LOCK=cu130"),
    ("torch._inductor.exc.InductorError: RuntimeError: Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl.\n", "no compiler", "apt-get install gcc"),
    ("/tmp/tmpj_1fdcu9/main.c:4:10: fatal error: Python.h: No such file or directory\n    4 | #include <Python.h>\n      |          ^~~~~~~~~~\ncompilation terminated.\n[rank0]: torch._inductor.exc.InductorError: CalledProcessError: Command '['/usr/bin/gcc', '/tmp/tmpj_1fdcu9/main.c', '-O3', '-shared', '-fPIC', '-lcuda', '-o', '/tmp/tmpj_1fdcu9/cuda_utils.so']' returned non-zero exit status 1.\n", "Python headers", "python3.10-dev"),
    ("/usr/bin/ld: cannot find -lcuda: No such file or directory\ncollect2: error: ld returned 1 exit status\nTraceback (most recent call last):\n  File \"/w/triton/compiler.py\", line 1169, in _build\n    ret = subprocess.check_call(cc_cmd)\nsubprocess.CalledProcessError: Command '['/usr/bin/gcc', '/tmp/x/main.c', '-lcuda', '-o', 'x.so']' returned non-zero exit status 1.\n\nThe above exception was the direct cause of the following exception:\n\nTraceback (most recent call last):\n  File \"pretrain.py\", line 12, in <module>\n    f()\ntorch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:\nCalledProcessError: Command '['/usr/bin/gcc', '/tmp/x/main.c', '-lcuda', '-o', 'x.so']' returned non-zero exit status 1.\n", "libcuda not found", "TRITON_LIBCUDA_PATH"),
    ("[rank0]: torch._inductor.exc.InductorError: CppCompileError: C++ compile error\n\n[rank0]: Command:\n[rank0]: g++ /tmp/torchinductor_u/ab/cab.cpp -D TORCH_INDUCTOR_CPP_WRAPPER -o x.so\n\n[rank0]: Output:\n[rank0]: /tmp/torchinductor_u/ab/cab.cpp:2:10: fatal error: omp.h: No such file or directory\n", "compiler failed", "CXX"),
    ("[rank1]: PermissionError: [Errno 13] Permission denied: '/home/u/.triton/cache/4e1a'\n", "cache of compiled kernels", "TRITON_CACHE_DIR"),
    ("PermissionError: [Errno 13] Permission denied: '/tmp/torchinductor_u/triton/0/abc'\n", "cache of compiled kernels", "TORCHINDUCTOR_CACHE_DIR"),
    ("[rank0]: torch.distributed.DistBackendError: NCCL error in: NCCLUtils.hpp:268, unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.21.5\n[rank0]: ncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.\n[rank0]: Last error:\n[rank0]: Error while creating shared memory segment /dev/shm/nccl-WU88OE (size 9637888), error: No space left on device (28)\n", "/dev/shm too small", "--shm-size"),
    ("RuntimeError: DataLoader worker (pid 42) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit.", "/dev/shm too small", "--shm-size"),
    ("RuntimeError: unable to write to file </torch_4210_1127_3>: No space left on device (28)", "/dev/shm too small", "--shm-size"),
    (TABLE.format(code=-7, said="Signal 7 (SIGBUS) received by PID 4242"), "bus error", "--shm-size"),
    ("[rank0]:[E321 02:07:08.408271257 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1580, OpType=ALLREDUCE, NumelIn=466119168, NumelOut=466119168, Timeout(ms)=600000) ran for 600060 milliseconds before timing out.\n[rank0]:[E321 02:07:08.465150152 ProcessGroupNCCL.cpp:1664] [PG 1 Rank 0] Exception (either an error or timeout) detected by watchdog at work: 1580, last enqueued NCCL work: 1582, last completed NCCL work: 1579.\n" + TABLE.format(code=-6, said="Signal 6 (SIGABRT) received by PID 4242"), "GPUs waited too long", "hung or was slow"),
    (PEER.format(0) + PEER.format(1) + CHILD, "another process is lost", "first error in the log"),
    (PEER.format(0) + PEER.format(1) + SIGKILL, "killed", "more memory"),
    ("TRAIN\n" + BAR + "slurmstepd: error: Detected 1 oom_kill event in StepId=11300781.0. Some of the step tasks have been OOM Killed.\n" + SIGKILL, "out of memory", "more memory"),
    ("RuntimeError: [enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9293898856 bytes.", "out of memory", "more memory"),
    ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.66 GiB for an array with shape (10326554, 900) and data type uint8", "out of memory", "make step-1"),
    ("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n" + TABLE.format(code=-6, said="Signal 6 (SIGABRT) received by PID 4242"), "out of memory", "more memory"),
    (BAR + HYDRA.format("OSError: [Errno 28] No space left on device"), "disk full", "free disk"),
    ("Traceback (most recent call last):\n  File \"/w/torch/serialization.py\", line 850, in save\n    _save(obj, opened_zipfile)\nRuntimeError: [enforce fail at inline_container.cc:603] . unexpected pos 1344 vs 1238\n", "checkpoint not written", "quota -s"),
    ("Traceback (most recent call last):\n  File \"s.py\", line 5, in w\n    f.write(x)\nOSError: [Errno 28] No space left on device\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"/w/torch/serialization.py\", line 850, in save\n    _save(obj, opened_zipfile)\nRuntimeError: [enforce fail at inline_container.cc:603] . unexpected pos 1344 vs 1238\n", "disk full", "free disk"),
    ("OSError: [Errno 122] Disk quota exceeded: '/home/u/run/step_72391'", "disk quota", "quota -s"),
    ("OSError: [Errno 30] Read-only file system: 'checkpoints/x'", "read-only file system", "TRM_DIR"),
    ("[rank0]: OSError: [Errno 5] Input/output error", "file system failed", "dmesg"),
    ("Traceback (most recent call last):\n  File \"pretrain.py\", line 19, in <module>\n    from adam_atan2 import AdamATan2\n  File \"adam_atan2.py\", line 4, in <module>\n    import adam_atan2_backend\nModuleNotFoundError: No module named 'adam_atan2_backend'\n" * 4 + CHILD, "missing extension", "make step-3"),
    ("ImportError: /w/adam_atan2_backend.cpython-310-x86_64-linux-gnu.so: undefined symbol: _ZN3c105ErrorC2E", "missing extension", "make step-3"),
    ("ModuleNotFoundError: No module named 'argdantic'", "missing module", "make step-3"),
    ("ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found (required by /w/libtorch_cpu.so)", "system too old", "Dockerfile"),
    ("wandb.errors.errors.UsageError: No API key configured. Use `wandb login` to log in.", "Weights & Biases refuses", "WANDB_API_KEY"),
    ("wandb: ERROR Run initialization has timed out after 90.0 sec.\nwandb.errors.errors.CommError: Run initialization has timed out after 90.0 sec. Please try increasing the timeout with the `init_timeout` setting.", "Weights & Biases not reached", "WANDB_API_KEY"),
    ("[E socket.cpp:957] [c10d] The server socket has failed to listen on any local network address. port: 29500, useIpv6: 0, code: -98, name: EADDRINUSE, message: address already in use\ntorch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29500, EADDRINUSE", "port in use", "end the other training"),
    ("Could not override 'run_name'.\nTo append to your config use +run_name=x\nKey 'run_name' is not in struct\n    full_key: run_name\n    object_type=dict\n\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n" + CHILD, "configuration refused", "EXTRA_TRAIN_ARGS"),
    ("LexerNoViableAltException: data_paths=[data/x\n                                    ^\nSee https://hydra.cc/docs/1.2/advanced/override_grammar/basic for details\n", "configuration refused", "EXTRA_TRAIN_ARGS"),
    (HYDRA.format("RuntimeError: Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details."), "inference tensor", "ENV_LOCK"),
    (HYDRA.format("  File \"evaluators/arc.py\", line 112, in result\n    dist.gather_object((self._local_hmap, self._local_preds), obj, dst=0, group=group)\nRuntimeError: [../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation to complete"), "gathering the evaluation", "augmentations"),
    (HYDRA.format("RuntimeError: Error(s) in loading state_dict for ACTLossHead:\n\tsize mismatch for model.inner.puzzle_emb.weights: copying a param with shape torch.Size([876406, 512]) from checkpoint, the shape in current model is torch.Size([1191730, 512])."), "checkpoint of another model", "make step-4"),
    ("Traceback (most recent call last):\n  File \"pretrain.py\", line 1, in <module>\n    f()\nKeyboardInterrupt\n", "interrupted", "make all"),
    ("[rank0]: FileNotFoundError: [Errno 2] No such file or directory: 'data/arc2concept-aug-1000/train/dataset.json'", "dataset missing", "make step-4"),
    (HYDRA.format("  File \"/w/puzzle_dataset.py\", line 60, in __init__\n    prev = self._load_metadata(p)\njson.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)"), "dataset damaged", "make step-4"),
    ("ValueError: Default process group has not been initialized, please make sure to call init_process_group.", "no process group", "torchrun"),
    ("OSError: [Errno 24] Too many open files", "too many open files", "ulimit -n"),
    (TABLE.format(code=-11, said="Signal 11 (SIGSEGV) received by PID 4242"), "crash in compiled code", "make step-3"),
    ("slurmstepd: error: *** JOB 84210 ON node7 CANCELLED AT 2026-02-26T10:31:06 DUE TO TIME LIMIT ***", "time limit", "make plan"),
    ("slurmstepd: error: *** STEP 84210.0 ON node7 CANCELLED AT 2026-02-26T10:31:06 DUE TO PREEMPTION ***\nW0226 10:31:06.936000 293817 site-packages/torch/distributed/elastic/agent/server/api.py:719] Received 15 death signal, shutting down workers\nTraceback (most recent call last):\n  File \"/w/bin/torchrun\", line 8, in <module>\n    sys.exit(main())\ntorch.distributed.elastic.multiprocessing.api.SignalException: Process 4100 got signal: 15\n", "pre-empted", "Submit"),
]
