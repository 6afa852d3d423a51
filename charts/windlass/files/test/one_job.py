"""What `helm test` runs: one instance from the definition to its end, through the Service, as a client would.

WINDLASS_URL is the REST API; WINDLASS_STEP the step's type: SERVICE_TASK (a worker's job) or USER_TASK (a person's);
WINDLASS_TOKEN a token of the role admin, if the engine asks for one.
The definition is the same each time, so that repeated tests store it once. Exit code 1 tells what did not hold.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

API = os.environ["WINDLASS_URL"]
STEP = os.environ["WINDLASS_STEP"]
TOKEN = os.environ.get("WINDLASS_TOKEN", "").strip()
NAME = f"helm-test-{STEP.lower().replace('_', '-')}"
WITHIN_S = 30


def call(method: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if TOKEN:
        headers["Authorization"] = f"Bearer {TOKEN}"
    request = urllib.request.Request(  # noqa: S310 - the chart's own Service
        API + path, data, headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            text = answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")
    return json.loads(text) if text else None


def lease(instance: str) -> Any:
    """Return this instance's job; those that an earlier, broken test left behind are worked off on the way."""
    until_s = time.monotonic() + WITHIN_S
    while time.monotonic() < until_s:
        poll = {"workerId": NAME, "jobTypes": [NAME], "leaseSeconds": 30, "waitMs": 2000}
        for job in call("POST", "/v1/jobs/poll", poll)["jobs"]:
            if job["instanceId"] == instance:
                return job
            complete(job)
    sys.exit(f"no job of {instance} within {WITHIN_S} s")


def complete(job: Any) -> None:
    answer = {"workerId": NAME, "leaseToken": job["leaseToken"], "variables": {"answer": 42}}
    call("POST", f"/v1/jobs/{job['id']}/complete", answer)


def main() -> None:
    step = {"id": "job", "name": "job", "type": STEP, "nextStep": "end"}
    if STEP == "SERVICE_TASK":
        step["jobType"] = NAME
    steps = [step, {"id": "end", "name": "end", "type": "END"}]
    call("POST", "/v1/definitions", {"id": NAME, "name": NAME, "steps": steps})
    started = call("POST", "/v1/instances", {"definitionId": NAME, "variables": {"question": "6 x 7"}})
    instance = started["id"]
    if STEP == "SERVICE_TASK":
        complete(lease(instance))
    else:
        path = f"/v1/instances/{instance}/user-tasks/job/complete"
        call("POST", path, {"variables": {"answer": 42}})
    ended = call("GET", f"/v1/instances/{instance}")
    expected = {"question": "6 x 7", "answer": 42}
    if (ended["status"], ended["variables"]) != ("COMPLETED", expected):
        sys.exit(f"instance {instance} should be COMPLETED with {expected}; it is {ended}")
    sys.stdout.write(f"instance {instance}: one {STEP}, completed\n")
    # An engine of an older version beside this one does not tell it.
    if database := call("GET", "/health/detailed").get("database"):
        sessions = (
            "sessions of its own"
            if database["sessions"]
            else "no sessions of its own: it finds jobs by polling"
        )
        sys.stdout.write(
            f"the engine asked last reaches the database by: {database['way']}, with {sessions}\n"
        )


main()
