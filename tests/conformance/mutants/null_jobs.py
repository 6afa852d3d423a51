"""An empty poll is answered with null where an empty array is promised."""

from __future__ import annotations

import mutation

from windlass.api import answers
from windlass.api.call import Response

answers.NO_JOBS = Response(200, b'{"jobs":null}\n')

if __name__ == "__main__":
    mutation.serve()
