"""More endings from public reports, and near misses: the same words where they are not the cause.

None of them was looked at while the rules were written; docs/training.md says how many were right at first.
A near miss that is unknown has words of the finding in the place of words of the remedy.
"""

from endings_written import BAR, CHILD, HYDRA, PEER, SIGKILL, TABLE

HELD_OUT = [
    # out of memory, GPU and host
    ("2026-02-18 12:54:22.864 [rank1]: Traceback (most recent call last):\n2026-02-18 12:54:22.864 [rank1]:   File \"/w/models/losses.py\", line 80, in forward\n2026-02-18 12:54:22.865 [rank1]:     lm_loss = (self.loss_fn(outputs[\"logits\"], labels))\n2026-02-18 12:54:22.865 [rank1]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 10.55 GiB. GPU 1 has a total capacity of 44.39 GiB of which 512.25 MiB is free. Including non-PyTorch memory, this process has 43.87 GiB memory in use. If reserved but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True\n", "out of GPU memory", "larger ones"),
    ("[rank0]: torch.AcceleratorError: CUDA error: out of memory\n[rank0]: Search for `cudaErrorMemoryAllocation' in https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information.\n[rank0]: CUDA kernel errors might be asynchronously reported at some other API call\n", "out of GPU memory", "larger ones"),
    (HYDRA.format("torch._inductor.exc.InductorError: OutOfMemoryError: CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total capacity of 31.36 GiB\n\nSet TORCHDYNAMO_VERBOSE=1 for the internal stack trace"), "out of GPU memory", "larger ones"),
    ("RuntimeError: Triton Error [CUDA]: out of memory\n", "out of GPU memory", "larger ones"),
    ("Traceback (most recent call last):\n  File \"/w/puzzle_dataset.py\", line 160, in _lazy_load_dataset\n    field_name: np.load(path, mmap_mode=mmap_mode)\nnumpy.core._exceptions._ArrayMemoryError: Unable to allocate 4.33 GiB for an array with shape (5163277, 900) and data type uint8\n", "out of memory", "more memory"),
    ("Traceback (most recent call last):\n  File \"/w/x.py\", line 3, in <module>\nMemoryError\n", "out of memory", "more memory"),
    ("RuntimeError: [enforce fail at CPUAllocator.cpp:64] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 3659571200 bytes. Error code 12 (Cannot allocate memory)\n", "out of memory", "more memory"),
    ("OSError: [Errno 12] Cannot allocate memory\n", "out of memory", "more memory"),
    ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=37205392.0. Some of your processes may have been killed by the cgroup out-of-memory handler.\nsrun: error: node107: task 0: Out Of Memory\n", "out of memory", "more memory"),
    ("/var/spool/slurmd/job00191/slurm_script: line 28:  8156 Killed                  torchrun --nproc-per-node 4 pretrain.py\n", "killed", "more memory"),
    (BAR + "\n" + PEER.format(1) + "ERROR:torch.distributed.elastic.multiprocessing.api:failed (exitcode: -9) local_rank: 3 (pid: 77) of binary: /opt/conda/bin/python\nTraceback (most recent call last):\n  File \"/opt/conda/bin/torchrun\", line 33, in <module>\n    sys.exit(main())\ntorch.distributed.elastic.multiprocessing.errors.ChildFailedError: \npretrain.py FAILED\n", "killed", "more memory"),
    ("[rank0]: RuntimeError: DataLoader worker (pid 3310) is killed by signal: Killed. \n", "killed", "more memory"),
    ("Feb 26 10:31:06 node kernel: Memory cgroup out of memory: Killed process 1440763 (python) total-vm:87033376kB\n" + SIGKILL, "out of memory", "more memory"),
    # CUDA, driver
    ("[rank0]: RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable\n", "GPU in use", "exclusive"),
    ("RuntimeError: CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.\n", "GPU in use", "exclusive"),
    ("[rank3]:[E626 05:14:36.393067540 ProcessGroupNCCL.cpp:916] [Rank 3] NCCL watchdog thread terminated with exception: CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be asynchronously reported at some other API call\n\nException raised from c10_cuda_check_implementation at ../c10/cuda/CUDAException.cpp:44 (most recent call first):\nframe #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x57 (0x7a71e4e84617 in libc10.so)\n", "GPU hardware", "replaced"),
    ("RuntimeError: CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported at some other API call,so the stacktrace below might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1.\n", "kernel fault", "once more"),
    ("[rank1]: ncclUnhandledCudaError: Call to CUDA function failed.\n", "NCCL", "first error"),
    ("[rank5]: torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:77, unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version 2.26.2\n[rank5]: ncclUnhandledCudaError: Call to CUDA function failed.\n[rank5]: Last error:\n[rank5]: Cuda failure 999 'unknown error'\n", "CUDA fails", "nvidia-smi"),
    ("RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.\n", "driver too old", "newer driver"),
    ("RuntimeError: CUDA error: the launch timed out and was terminated\n", "kernel cut off by the display", "graphical session"),
    ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might have already set an error? Error 101: invalid device ordinal\n", "too few GPUs", "CUDA_VISIBLE_DEVICES"),
    ("AssertionError: Torch not compiled with CUDA enabled\n", "environment broken", "make step-3"),
    ("pynvml.NVMLError_LibRmVersionMismatch: Driver/library version mismatch\n", "driver and library", "Restart"),
    # compilers
    ("torch._inductor.exc.GPUTooOldForTriton: Found Tesla P100-PCIE-16GB which is too old to be supported by the triton GPU compiler, which is used as the backend. Triton only supports devices of CUDA Capability >= 7.0, but your device is of CUDA capability 6.0\n", "GPU without a kernel", "make step-1"),
    ("torch._inductor.exc.InductorError: FileNotFoundError: [Errno 2] No such file or directory: 'g++'\n", "no compiler", "g++"),
    (HYDRA.format("torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:\nRuntimeError: Triton Error [CUDA]: device kernel image is invalid\n\nSet TORCH_LOGS=\"+dynamo\" and TORCHDYNAMO_VERBOSE=1 for more information"), "kernel refused by the driver", "newer driver"),
    ("[rank0]: torch._inductor.exc.InductorError: AssertionError: libcuda.so cannot found!\n[rank0]: Possible files are located at ['/usr/lib/x86_64-linux-gnu/libcuda.so.1'].Please create a symlink of libcuda.so to any of the files.\n", "libcuda not found", "TRITON_LIBCUDA_PATH"),
    ("[rank2]:   File \"/w/triton/runtime/cache.py\", line 116, in put\n[rank2]:     with open(temp_path, mode) as f:\n[rank2]: OSError: [Errno 122] Disk quota exceeded: '/home/u/.triton/cache/ab/k.ttir.tmp.pid_1'\n", "disk quota", "quota -s"),
    ("OSError: [Errno 16] Device or resource busy: '/root/.triton/cache/x/cuda_utils.so.tmp' -> '/root/.triton/cache/x/cuda_utils.so'\n", "cache of compiled kernels", "TRITON_CACHE_DIR"),
    ("[rank1]: PermissionError: [Errno 13] Permission denied: '/.cache'\n", "cache of compiled kernels", "TORCHINDUCTOR_CACHE_DIR"),
    # NCCL, launcher, ports
    ("[rank4]: torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1275, internal error, NCCL version 2.14.3\n[rank4]: ncclInternalError: Internal check failed.\n[rank4]: Last error:\n[rank4]: Net : Connection closed by remote peer user<50260>\n", "another process is lost", "first error"),
    ("RuntimeError: [1] is setting up NCCL communicator and retreiving ncclUniqueId from [0] via c10d key-value store by key '0', but store->get('0') got error: Socket Timeout\nException raised from recvBytes at ../torch/csrc/distributed/c10d/Utils.hpp:594 (most recent call first):\nframe #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x57\n", "another process is lost", "first error"),
    ("[rank7]:[E626 05:14:36.393067540 ProcessGroupNCCL.cpp:1743] [PG ID 0 PG GUID 0(default_pg) Rank 7] ProcessGroupNCCL's watchdog got stuck for 480 seconds without making progress in monitoring enqueued collectives.\n", "GPUs waited too long", "hung or was slow"),
    ("terminate called after throwing an instance of 'c10::DistBackendError'\n  what():  [PG 3 Rank 5] Process group watchdog thread terminated with exception: [Rank 5] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=9141, OpType=_ALLGATHER_BASE, NumelIn=19008, NumelOut=152064, Timeout(ms)=600000) ran for 600020 milliseconds before timing out.\n", "GPUs waited too long", "hung or was slow"),
    ("torch.distributed.elastic.rendezvous.api.RendezvousConnectionError: The connection to the C10d store has failed. See inner exception for details.\n", "processes did not meet", "localhost"),
    ("torch.distributed.DistStoreError: Timed out after 601 seconds waiting for clients. 2/4 clients joined.\n", "processes did not meet", "localhost"),
    ("RuntimeError: The server socket has failed to listen on any local network address. The server socket has failed to bind to [::]:29500 (errno: 98 - Address already in use). The server socket has failed to bind to ?UNKNOWN? (errno: 98 - Address already in use).\n", "port in use", "end the other training"),
    ("W0227 17:39:41.936000 293817 site-packages/torch/distributed/elastic/agent/server/api.py:719] Received 15 death signal, shutting down workers\nTraceback (most recent call last):\n  File \"/w/bin/torchrun\", line 8, in <module>\n    sys.exit(main())\ntorch.distributed.elastic.multiprocessing.api.SignalException: Process 293817 got signal: 15\n", "terminated", "make all"),
    ("slurmstepd: error: *** STEP 440575.0 ON nid001277 CANCELLED AT 2023-12-05T07:16:01 ***\n", "cancelled", "sacct"),
    # modules
    ("ImportError: /w/torch/lib/libtorch_cuda.so: undefined symbol: ncclCommRegister\n", "environment broken", "make step-3"),
    ("ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory\n", "environment broken", "make step-3"),
    ("ImportError: cannot import name 'HfFolder' from 'huggingface_hub' (/w/huggingface_hub/__init__.py)\n", "environment broken", "make step-3"),
    ("ImportError: /usr/lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by /w/adam.so)\n", "system too old", "newer system"),
    # Weights & Biases, hydra
    ("wandb: ERROR failed to upsert bucket: returned error 403 Forbidden: {\"errors\":[{\"message\":\"permission denied\"}]}\nTraceback (most recent call last):\n  File \"/w/pretrain.py\", line 590, in launch\n    wandb.init(project=config.project_name)\nwandb.errors.errors.CommError: failed to upsert bucket: returned error 403 Forbidden: {\"errors\":[{\"message\":\"permission denied\",\"path\":[\"upsertBucket\"]}]}\n", "Weights & Biases refuses", "WANDB_API_KEY"),
    ("wandb.errors.errors.CommError: failed to upsert bucket: returned error 401 Unauthorized: {\"errors\":[{\"message\":\"user is not logged in\"}]}\n", "Weights & Biases refuses", "WANDB_API_KEY"),
    ("wandb.errors.CommError: entity u not found during upsertBucket (Error 404: Not Found)\n", "Weights & Biases refuses", "WANDB_ENTITY"),
    ("ValueError: API key must be 40 characters long, yours was 37\n", "Weights & Biases refuses", "WANDB_API_KEY"),
    ("wandb.sdk.service.service.ServiceStartTimeoutError: Timed out waiting for wandb service to start after 30.0 seconds. Try increasing the timeout with the `_service_wait` setting.\n", "Weights & Biases not reached", "WANDB_API_KEY"),
    ("Error merging override +a.j=2\nKey 'j' not in 'A'\n\tfull_key: a.j\n\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n", "configuration refused", "EXTRA_TRAIN_ARGS"),
    ("mismatched input '=' expecting <EOF>\nSee https://hydra.cc/docs/1.2/advanced/override_grammar/basic for details\n\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n", "configuration refused", "EXTRA_TRAIN_ARGS"),
    (HYDRA.format("pydantic_core._pydantic_core.ValidationError: 1 validation error for PretrainConfig\nglobal_batch_size\n  Input should be a valid integer [type=int_parsing]"), "configuration refused", "EXTRA_TRAIN_ARGS"),
    # files, disk, crashes
    ("RuntimeError: Caught OSError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File \"/w/torch/utils/data/_utils/worker.py\", line 349, in _worker_loop\n    data = fetcher.fetch(index)\nOSError: [Errno 5] Input/output error\n", "file system failed", "dmesg"),
    ("Traceback (most recent call last):\n  File \"/w/torch/serialization.py\", line 967, in save\n    _save(\nRuntimeError: [enforce fail at inline_container.cc:783] . PytorchStreamWriter failed writing file data/7: file write failed\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"/w/pretrain.py\", line 241, in save_train_state\n    torch.save(train_state.model.state_dict(), path)\nRuntimeError: [enforce fail at inline_container.cc:603] . unexpected pos 576 vs 470\n", "checkpoint not written", "df -h"),
    ("FileNotFoundError: [Errno 2] No such file or directory: '/w/TinyRecursiveModels/data/arc2concept-aug-1000/test_puzzles.json'\n", "dataset missing", "make step-4"),
    ("_pickle.UnpicklingError: invalid load key, 'v'.\n", "checkpoint unreadable", "make step-4"),
    ("Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f1c2d7fe640 (most recent call first):\n  File \"/w/x.py\", line 33 in f\n", "crash in compiled code", "make step-3"),
    (TABLE.format(code=-4, said="Signal 4 (SIGILL) received by PID 4242"), "processor too old", "AVX2"),
    ("RuntimeError: unable to open shared memory object </torch_71_2> in read-write mode: Too many open files (24)\n", "too many open files", "ulimit -n"),
    ("RuntimeError: can't start new thread\n", "too many processes", "ulimit -u"),
    ("^CTraceback (most recent call last):\n  File \"/w/pretrain.py\", line 600, in launch\n    for x in y:\nKeyboardInterrupt\n", "interrupted", "make all"),
]

NEAR_MISSES = [
    # a compiler that is only mentioned
    ("UserWarning: gcc was not found, falling back to a slower path\n  warnings.warn(msg)\n[rank0]: RuntimeError: shape '[2, 3]' is invalid for input of size 5\n", "unknown", "shape '[2, 3]' is invalid"),
    ("Failed to find C compiler: extension skipped\nTRAIN\n[rank0]: ZeroDivisionError: float division by zero\n", "unknown", "ZeroDivisionError"),
    ("ptxas info    : 0 bytes gmem, 24 bytes cmem[4]\nptxas info    : Used 64 registers, 380 bytes cmem[0]\nRuntimeError: new failure of ours\n", "unknown", "new failure of ours"),
    ("E0303 11:40:42.538000 711 site-packages/torch/_inductor/runtime/triton_heuristics.py:533] Triton compilation failed: triton_red_fused\nW0306 14:40:15.990000 1719866 .venv/lib/python3.12/site-packages/torch/_inductor/select_algorithm.py:1517] [2/0] out of resource: shared memory, Required: 131072, Hardware limit: 101376. Reducing block sizes or `num_stages` may help.\n[rank0]: AssertionError: expected size 512==256\n", "unknown", "expected size 512==256"),
    # a word in a source line or another's message
    ("Traceback (most recent call last):\n  File \"/w/a.py\", line 3, in f\n    raise ValueError(\"bad\")  # once CUDA out of memory\nValueError: bad\n", "unknown", "ValueError: bad"),
    ("Traceback (most recent call last):\n  File \"/w/a.py\", line 3, in f\n    \"\"\"raises OSError: [Errno 28] No space left on device\"\"\"\nTypeError: f() missing 1 required positional argument: 'x'\n", "unknown", "missing 1 required"),
    ("[rank0]: ValueError: could not parse the log line 'torch.OutOfMemoryError: CUDA out of memory'\n", "unknown", "could not parse"),
    ("RuntimeError: the report says: CUDA error: device-side assert triggered\n", "unknown", "the report says"),
    ("KeyError: 'No space left on device'\n", "unknown", "KeyError"),
    ("AttributeError: module 'torch.cuda' has no attribute 'OutOfMemoryError'\n", "unknown", "no attribute"),
    ("NameError: name 'KeyboardInterrupt_handler' is not defined\n", "unknown", "NameError"),
    # handled, and something else after it
    ("WARNING: could not write the sample grid\nTraceback (most recent call last):\n  File \"/w/pics.py\", line 4, in save\n    f.write(x)\nOSError: [Errno 28] No space left on device\ncontinuing without it\nstep 1000 loss 0.51\n[rank1]: Traceback (most recent call last):\n[rank1]:   File \"/w/b.py\", line 9, in g\n[rank1]:     y.view(2, 3)\n[rank1]: RuntimeError: shape '[2, 3]' is invalid for input of size 5\n" + PEER.format(0), "unknown", "rank 1: RuntimeError: shape"),
    ("Traceback (most recent call last):\n  File \"/w/m.py\", line 4, in try_big\n    x = torch.empty(n)\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 80.00 GiB.\nretrying with the next size\n\r  1%|  | 10/1000 [00:01<01:00, 9.9it/s]\r 50%|#####     | 500/1000 [00:50<00:50, 9.9it/s]\n" + SIGKILL, "killed", "more memory"),
    ("Traceback (most recent call last):\n  File \"/w/m.py\", line 4, in probe\n    import flash_attn\nModuleNotFoundError: No module named 'flash_attn'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"/w/m.py\", line 6, in probe\n    raise RuntimeError(\"head_dim 96 has no kernel\")\nRuntimeError: head_dim 96 has no kernel\n", "unknown", "head_dim 96 has no kernel"),
    ("Traceback (most recent call last):\n  File \"/w/m.py\", line 4, in f\n    cache[key]\nKeyError: 'x'\n\nDuring handling of the above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File \"/w/m.py\", line 6, in f\n    y = torch.empty(n)\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n", "out of GPU memory", "larger ones"),
    ("Exception ignored in: <function _MultiProcessingDataLoaderIter.__del__ at 0x7f>\nTraceback (most recent call last):\n  File \"/w/dataloader.py\", line 1582, in __del__\n    self._shutdown_workers()\nOSError: [Errno 24] Too many open files\n[rank0]: IndexError: index 12 is out of bounds for dimension 0 with size 12\n", "unknown", "IndexError"),
    ("--- Logging error ---\nTraceback (most recent call last):\n  File \"/usr/lib/python3.10/logging/__init__.py\", line 1104, in emit\n    self.flush()\nOSError: [Errno 28] No space left on device\nCall stack:\n  File \"/w/x.py\", line 3\nMessage: 'x'\nArguments: ()\n[rank2]: ValueError: of ours\n", "unknown", "ValueError: of ours"),
    ("Exception in thread NetStatThr:\nTraceback (most recent call last):\n  File \"/usr/lib/python3.10/threading.py\", line 1016, in _bootstrap_inner\n    self.run()\nBrokenPipeError: [Errno 32] Broken pipe\n[rank0]: ValueError: of ours\n", "unknown", "ValueError: of ours"),
    # Weights & Biases that recovered
    ("wandb: Network error (ConnectTimeout), entering retry loop.\nwandb: Network error resolved after 0:03:11.2, resuming normal operation.\nTRAIN\n[rank0]: RuntimeError: of ours\n", "unknown", "RuntimeError: of ours"),
    ("wandb: ERROR Error while calling W&B API: permission denied (<Response [403]>)\nwandb: WARNING retrying\n[rank0]: RuntimeError: of ours\n", "unknown", "RuntimeError: of ours"),
    ("wandb: 429 encountered (Filestream rate limit exceeded, retrying in 2.1 seconds.), retrying request\nwandb: ERROR storage quota exceeded\n" + HYDRA.format("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.27 GiB."), "out of GPU memory", "larger ones"),
    # lines of the system that went on
    ("NCCL WARN Call to posix_fallocate failed: tried again\nnode:1:2 [0] NCCL INFO misc/socket.cc:47 -> 3\n[rank0]: RuntimeError: of ours\n", "unknown", "RuntimeError: of ours"),
    ("tar: x: Cannot write: No space left on device\nTRAIN\n[rank0]: RuntimeError: of ours\n", "unknown", "RuntimeError: of ours"),
    ("[W226 10:31:07.1 socket.cpp:464] [c10d] The server socket has failed to bind to [::]:29500 (errno: 98 - Address already in use).\nTRAIN\n[rank0]: RuntimeError: of ours\n", "unknown", "RuntimeError: of ours"),
    ("Killed workers: 0\nRuntimeError: of ours\n", "unknown", "RuntimeError: of ours"),
    ("W0226 10:31:08.1 4100 torch/distributed/elastic/multiprocessing/api.py:897] Sending process 4240 closing signal SIGTERM\n[rank0]: RuntimeError: of ours\n" + CHILD, "unknown", "RuntimeError: of ours"),
    # permissions, names and files that are others'
    ("PermissionError: [Errno 13] Permission denied: 'checkpoints/Arc2concept/step_72391'\n", "no permission", "owner"),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'notes.txt'\n", "unknown", "notes.txt"),
    ("Traceback (most recent call last):\n  File \"/w/requests/models.py\", line 974, in json\n    return complexjson.loads(self.text)\njson.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)\n", "unknown", "Expecting value"),
    ("hydra.errors.HydraException: Error calling 'models.Logger' : it is not callable\n", "unknown", "it is not callable"),
    ("pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings\nentity\n  Input should be a valid string\n", "unknown", "validation error for Settings"),
    ("subprocess.CalledProcessError: Command '['git', 'rev-parse', 'HEAD']' returned non-zero exit status 128.\n", "unknown", "rev-parse"),
    ("torch._inductor.exc.InductorError: AssertionError: \n\nSet TORCHDYNAMO_VERBOSE=1 for the internal stack trace\n", "unknown", "InductorError"),
    ("OSError: [Errno 28] inotify watch limit reached\nstep 10 loss 3.2\nepoch 2\nstep 20 loss 3.1\n[rank0]: RuntimeError: of ours\n", "unknown", "RuntimeError: of ours"),
    # who was first
    ("[rank2]: Traceback (most recent call last):\n[rank2]:   File \"/w/p.py\", line 8, in f\n[rank2]:     assert x.shape[0] == 96\n[rank2]: AssertionError: 95\n" + PEER.format(0) + PEER.format(1) + CHILD, "unknown", "rank 2: AssertionError: 95"),
    ("[rank1]: Traceback (most recent call last):\n[rank3]: Traceback (most recent call last):\n[rank1]:   File \"/w/p.py\", line 8, in f\n[rank3]:   File \"/w/p.py\", line 9, in g\n[rank3]:     loss.backward()\n[rank1]:     dist.all_reduce(x)\n[rank3]: torch.AcceleratorError: CUDA error: an illegal memory access was encountered\n[rank1]: torch.distributed.DistBackendError: NCCL error in: x.cpp:1, remote process exited or there was a network error, NCCL version 2.26.2\n[rank1]: ncclRemoteError: A call failed possibly due to a network error\n[rank3]: CUDA kernel errors might be asynchronously reported at some other API call\n", "kernel fault", "once more"),
    (BAR + "Traceback (most recent call last):\n  File \"/w/p.py\", line 8, in f\n    x\nRuntimeError: of ours" + BAR + "\n", "unknown", "RuntimeError: of ours"),
    (PEER.format(0) + "[rank1]: ConnectionResetError: [Errno 104] Connection reset by peer\n" + CHILD, "another process is lost", "first error"),
    ("", "unknown", "no output"),
    ("TRAIN\n" + CHILD, "unknown", "exit code 1"),
]
