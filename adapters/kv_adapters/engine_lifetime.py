"""Engine processes that do not outlive the command that started them.

vLLM ends its engine when the command ends by itself. One that is killed, by a scheduler or for
want of memory, would leave the engine behind, with the GPU's memory. On Linux the kernel can tell
a process of its parent's end, and vLLM ends its workers when its engine gets SIGTERM.

vLLM loads this in each of its processes through the entry point ``vllm.general_plugins``;
it does nothing to an engine that another program started.
"""

import ctypes
import os
import signal
import sys

# The command's process number; its engine is the process whose parent has it.
PARENT = "KV_ADAPTERS_PROCESS"
_PR_SET_PDEATHSIG = 1


def mark() -> None:
    """Say that engines started by this process belong to it."""
    os.environ[PARENT] = str(os.getpid())


def register() -> None:
    """In an engine of ours, ask for SIGTERM when its parent ends."""
    if sys.platform == "linux" and os.environ.get(PARENT) == str(os.getppid()):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
