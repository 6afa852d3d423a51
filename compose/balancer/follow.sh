#!/bin/sh
# Runs nginx, and gives it the servers whose /ready says yes, at the addresses that they have now: open-source nginx asks no
# server whether it is ready, and looks a name up only once. SERVERS are names; one that does not exist is left out.
set -eu
servers=${SERVERS:-server-a server-b server-c}
config=/etc/windlass/nginx.conf list=/tmp/servers.conf seen=/tmp/seen
every_s=0.5 answer_within_s=1

# Leaves "ADDRESS STATUS" in a file of the server's name, or nothing when it has no address.
ask() {
  address=$(getent hosts "$1" | { read -r first _ && echo "$first"; }) || { rm -f "$seen/$1"; return; }
  status=$(curl -s -o /dev/null -m "$answer_within_s" -w '%{http_code}' "http://$address:8080/ready") || true
  echo "$address $status" > "$seen/$1"
}

# Prints "NAME ADDRESS" of those that are ready; if none is, of all, since their own answer says why.
chosen() {
  ready='' all=''
  for name in $servers; do
    { read -r address status < "$seen/$name"; } 2>/dev/null || continue
    all="$all$name $address
"
    [ "$status" != 200 ] || ready="$ready$name $address
"
  done
  printf '%s' "${ready:-$all}"
}

# Prints nginx's two lists: for REST and for gRPC.
upstreams() {
  for upstream in engines:8080 engines_grpc:9090; do
    echo "upstream ${upstream%:*} {"
    echo "  zone ${upstream%:*} 64k;"
    # max_fails=0: only follow.sh decides, else one failed call of each server would leave none.
    printf '%s\n' "$1" | while read -r name address; do
      [ -z "$name" ] || echo "  server $address:${upstream#*:} max_fails=0;  # $name"
    done
    [ -n "$1" ] || echo "  server 127.0.0.1:1 down;"
    echo "}"
  done
}

# Returns whether the list has changed.
look() {
  for name in $servers; do ask "$name" & done
  wait
  now=$(chosen)
  [ "$now" != "${last-never}" ] || return 1
  last=$now
  upstreams "$now" > "$list.new" && mv "$list.new" "$list"
  echo "balancer: calls go to $(printf '%s' "${now:-no server}" | tr '\n' ',')" >&2
}

mkdir -p "$seen"
look || true
(
  while sleep "$every_s"; do
    if look; then kill -HUP "$(cat /tmp/nginx.pid)" || echo "balancer: nginx could not be told of its servers" >&2; fi
  done
) &
exec nginx -c "$config" -g 'daemon off;'
