#!/bin/sh
# Makes the secrets of docker-compose.small-cluster.yml, with new passwords; a file that is there already is kept.
#   compose/secrets.sh [FOLDER]     default: WINDLASS_SECRETS, or compose/secrets
# The folder can be entered by its owner alone. The files in it can be read by others, since containers, which see only
# their own files, read them as users of their own.
set -eu
folder=${1:-${WINDLASS_SECRETS:-$(dirname "$0")/secrets}}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# keep NAME: writes its input to that file, unless there is one.
keep() {
  if [ -e "$folder/$1" ]; then cat > /dev/null; return; fi
  cat > "$folder/$1.new"
  chmod 444 "$folder/$1.new"
  mv "$folder/$1.new" "$folder/$1"
  echo "secrets: made $folder/$1" >&2
}

password | keep postgres_password
printf 'postgresql://windlass:%s@postgres:5432/windlass' "$(cat "$folder/postgres_password")" | keep postgres_dsn
printf 'requirepass %s\n' "$(password)" | keep redis.conf
printf 'redis://:%s@redis:6379/0' "$(sed -n 's/^requirepass //p' "$folder/redis.conf")" | keep redis_url
password | keep kafka_password
