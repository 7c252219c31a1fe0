#!/bin/sh
# What PostgreSQL's own image does at its first start, as far as our compose file asks for it.
set -eu
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
  initdb --pgdata "$data" --username "$POSTGRES_USER" --pwfile "$POSTGRES_PASSWORD_FILE" \
    --encoding UTF8 --locale C.UTF-8 --auth-host scram-sha-256 --auth-local trust > /dev/null
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$data" postgres > /dev/null
fi
# Not in /run/postgresql: runc 1.1 gives a new folder of memory there the wrong mode.
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
