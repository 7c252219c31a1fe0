#!/bin/sh
# The ingestion worker: makes the corpus equal to its sources, once, or every so many seconds: ingest.sh 86400
# The code of the last run is the container's: 1 when a document could not be read.
set -eu
every=${1:-}
export BANKSIGHT_DATA_DIR="$BANKSIGHT_CORPUS_DIR/data"
mkdir -p "$BANKSIGHT_DATA_DIR"
while :; do
  code=0
  flock "$BANKSIGHT_CORPUS_DIR/corpus.lock" python -m bentos ingest || code=$?
  [ -n "$every" ] || exit "$code"
  echo "ingestion ended with code $code; the next one is in $every s" >&2
  sleep "$every"
done
