#!/usr/bin/env bash
# Shows that the small cluster works: two servers behind a balancer, a scheduler, PostgreSQL and Redis, from
# docker-compose.small-cluster.yml. Drill small-cluster goes its way call by call, smoke has every step type, and L5 any
# server for any call with one killed. Needs docker with its compose plugin; nothing of it is left afterwards.
#   scripts/smoke-small-cluster.sh                 of this tree, whose images are built first
#   scripts/smoke-small-cluster.sh --images FILE   of published images, by digest
#   scripts/smoke-small-cluster.sh --report DIR    where report and logs are kept (reports/smoke-small-cluster-TIME)
# Other options go to `seatrial run`. With WINDLASS_IMAGE in the environment that image is tried and none is built.
# Exit codes: 0 all pass; 1 something is not as promised; 2 misuse; 3 the cluster did not come up; 4 no image could be
# built; 130 interrupted.
set -euo pipefail
source "$(dirname "$0")/setup"
cd "$ROOT"
report=$ROOT/reports/smoke-small-cluster-$(date +%Y%m%d-%H%M%S)
builds=yes
options=()
while [ $# -gt 0 ]; do
  case $1 in
    --help) sed -n '2,12p' "$0"; exit 0 ;;
    --report) report=${2:?--report needs a folder}; shift ;;
    --images) builds=no; options+=("$1" "${2:?--images needs a file}"); shift ;;
    *) options+=("$1") ;;
  esac
  shift
done
command -v docker >/dev/null || { echo "smoke: docker is not on PATH; install it with its compose plugin" >&2; exit 2; }
docker compose version >/dev/null 2>&1 || { echo "smoke: docker has no compose plugin; install it" >&2; exit 2; }
docker info >/dev/null 2>&1 || { echo "smoke: Docker's daemon does not answer; start it" >&2; exit 2; }
if [ $builds = yes ] && [ -z "${WINDLASS_IMAGE-}" ]; then
  scripts/image || { echo "smoke: the image could not be built; docker's own words are above" >&2; exit 4; }
fi

code=0
seatrial run small-cluster smoke L5 --backend compose --report "$report" "${options[@]}" || code=$?
[ $code != 0 ] || exit 0
[ ! -d "$report" ] || echo "smoke: report, histories and the logs of every service are in $report" >&2
# Of a run whose cluster never was, seatrial says `invalid`, as of any that proves nothing.
if [ $code = 1 ] && grep -qs '"the cluster did not come up' "$report"/*/result.json; then exit 3; fi
exit $code
