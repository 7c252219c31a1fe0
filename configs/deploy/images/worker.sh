#!/bin/sh
# The worker, which alone writes.
#
#   worker.sh           ingests what it is asked to
#   worker.sh 86400     makes the corpus equal to its sources, too, at the start and every so many seconds
#   worker.sh check     exit code 0 while it writes: a worker holds the lock of its data folder
set -eu

writes() {
  code=0
  flock --nonblock --conflict-exit-code 9 "$BANKSIGHT_DATA_DIR/owner.lock" true || code=$?
  [ "$code" -eq 9 ]
}

ingest_every() {
  while :; do
    until sleep 10 && writes; do :; done
    # Once more where a document failed, or a store was away for a moment; the worker's log says which.
    banksight ingest || { sleep 600; banksight ingest; } || echo "ingestion ended with code $?" >&2
    sleep "$1"
  done
}

case ${1:-} in
  check) writes; exit ;;
  "") ;;
  *) ingest_every "$1" & ;;
esac
exec banksight worker
