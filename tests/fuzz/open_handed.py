"""Our engine with authentication on, but guesses are not slowed: else nearly every case would end there.

`python open_handed.py FOLDER [FAULT...] serve`; the folder has what `credentials.write` put there, faults are those of
`mutants/gate_planted.py`. That guesses are slowed is what test_gate.py and test_jwt.py show.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from windlass import __main__ as command
from windlass.auth import attempts

if __name__ == "__main__":
    folder, *faults, role = sys.argv[1:]
    os.environ.update(json.loads(Path(folder, "access.json").read_text()))
    attempts.GUESSES_AT_ONCE = 1_000_000_000
    if faults:
        # Imported here: it loads gRPC, which the engine does when its log is ready for it.
        from mutants import gate_planted

        for fault in faults:
            gate_planted.FAULTS[fault]()
    sys.exit(command.main([role]))
