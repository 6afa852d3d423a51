"""Any number of an instance's steps may wait."""

from __future__ import annotations

import mutation

from windlass import advance

advance.OPEN_STEPS_MAX = 10**9

if __name__ == "__main__":
    mutation.serve()
