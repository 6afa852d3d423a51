#!/bin/sh
# Runs nginx, and gives it the servers whose /ready says yes, at the addresses that they have now: open-source nginx asks no
# server whether it is ready, and looks a name up only once. All servers have one name in the network, SERVERS.
set -eu
servers=${SERVERS:-servers}
config=/etc/windlass/nginx.conf list=/tmp/servers.conf answers=/tmp/answers
every_s=0.5 answer_within_s=1

# Leaves the status of /ready in a file of the address's name.
ask() {
  curl -s -o /dev/null -m "$answer_within_s" -w '%{http_code}' "http://$1:8080/ready" > "$answers/$1" || true
}

# Prints the addresses of those that are ready; if none is, of all, since their own answer says why.
chosen() {
  all=$(timeout 2 getent ahostsv4 "$servers" | cut -d ' ' -f 1 | sort -u) || true
  for address in $all; do ask "$address" & done
  wait
  ready=
  for address in $all; do
    [ "$(cat "$answers/$address")" != 200 ] || ready="$ready $address"
  done
  echo ${ready:-$all}
}

# Prints nginx's two lists of these addresses, for REST and for gRPC.
upstreams() {
  for upstream in engines:8080 engines_grpc:9090; do
    echo "upstream ${upstream%:*} {"
    echo "  zone ${upstream%:*} 64k;"
    # max_fails=0: what is ready decides, else one failed call of each server would leave none.
    for address in ${1:-}; do echo "  server $address:${upstream#*:} max_fails=0;"; done
    [ -n "$1" ] || echo "  server 127.0.0.1:1 down;"
    echo "}"
  done
}

write() {
  upstreams "$1" > "$list.new"
  mv "$list.new" "$list"
  echo "balancer: calls go to ${1:-no server}" >&2
}

follow() {
  # Whatever fails, it goes on looking.
  set +e
  used=$1
  while sleep "$every_s"; do
    found=$(chosen)
    [ "$found" != "$used" ] || continue
    write "$found"
    # As long as nginx has not started there is nobody to tell; then it is told the next time.
    if kill -HUP "$(cat /tmp/nginx.pid)" 2>/dev/null; then used=$found; fi
  done
}

mkdir -p "$answers"
first=$(chosen)
write "$first"
# A reload closes connections that are idle, perhaps just as a call comes in on one: nobody knows then what became of it.
# From version 1.27.4 on nginx keeps them a while longer; with an older one no caller's connection is kept.
keep=/tmp/keepalive.conf
echo 'keepalive_timeout 120s; keepalive_min_timeout 60s;' > "$keep"
nginx -t -q -c "$config" 2>/dev/null || echo 'keepalive_timeout 0;' > "$keep"
follow "$first" &
exec nginx -c "$config" -g 'daemon off;'
