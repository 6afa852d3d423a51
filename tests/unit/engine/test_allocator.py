"""What is freed goes back to the kernel: the process is as large as what it holds."""

from __future__ import annotations

import subprocess
import sys

MIB = 1024 * 1024
FREED = """
import sys
from concurrent.futures import ThreadPoolExecutor
from windlass import allocator
from windlass.sweep.memory import resident_bytes
if sys.argv[1] == "told":
    allocator.keep_little()
before = resident_bytes()
def work(_):
    # The first one that is freed teaches the allocator that such blocks come and go.
    bytes(b"x") * (16 << 20)
    small, large = [], []
    for _ in range(8):
        large.append(b"x" * (2 << 20))
        small.append(b"y" * 2000)
    return small
with ThreadPoolExecutor(4) as threads:
    kept = list(threads.map(work, range(16)))
print(resident_bytes() - before)
"""


def grown_bytes(*words: str) -> int:
    ran = subprocess.run([sys.executable, "-c", FREED, *words], capture_output=True, text=True, check=True)
    return int(ran.stdout)


def test_large_blocks_between_small_ones_do_not_stay() -> None:
    assert grown_bytes("untold") > 16 * MIB, "otherwise this shows nothing"
    assert grown_bytes("told") < 8 * MIB
