"""A standby looks for the lead once a minute."""

from __future__ import annotations

import mutation

from windlass.dispatch import leader

leader.LOOK_INTERVAL_S = 60.0

if __name__ == "__main__":
    mutation.serve()
