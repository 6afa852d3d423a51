"""Only the first host of the DSN is ever tried, so that a failover to the second goes unnoticed."""

from __future__ import annotations

import os
import re

import mutation

if __name__ == "__main__":
    os.environ["WE_POSTGRES_DSN"] = re.sub(r"@([^,/]+),[^/]+/", r"@\1/", os.environ["WE_POSTGRES_DSN"])
    mutation.serve()
