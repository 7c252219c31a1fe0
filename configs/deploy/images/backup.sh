#!/bin/sh
# Backups, as everywhere they are made: docs/disaster-recovery.md.
#
#   backup.sh           saves the corpus, proves it by restoring it, deletes what is older than 30 days; on the first day
#                       of a month also restores it against the clock
#   backup.sh 86400     the same at the start and every so many seconds
#   backup.sh check     exit code 0 unless the last one failed
set -u
FAILED=/tmp/backup-failed

once() {
  banksight backup create && banksight backup prune || return
  [ "$(date +%d)" != 01 ] || banksight backup drill
}

every() {
  while :; do
    if once; then
      rm -f "$FAILED"
      sleep "$1"
    else
      echo "the backup failed; trying again in ten minutes" >&2
      : > "$FAILED"
      sleep 600
    fi
  done
}

case ${1:-} in
  check) [ ! -e "$FAILED" ] ;;
  "") once ;;
  *) every "$1" ;;
esac
