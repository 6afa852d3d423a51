"""The end of the process waits until its log is written, however long nobody reads it."""

from __future__ import annotations

import mutation

from windlass.telemetry.output import Output


def flush(self: Output, within_s: float = 0.0) -> None:
    self.hand_over()
    with self._state:
        self._state.wait_for(lambda: not self._is_due and not self._writes_now)


Output.flush = flush  # type: ignore[method-assign]

if __name__ == "__main__":
    mutation.serve()
