#!/bin/sh
# An API node: takes the corpus that the ingestion worker made, then serves it.
#
# Opening a data folder tidies up after runs that were killed, in Chroma too. While a run goes on that would be wrong, so
# a node waits for its end, and no run begins before the node has opened. Both hold $BANKSIGHT_CORPUS_DIR/corpus.lock.
set -eu
corpus=${BANKSIGHT_CORPUS_DIR:-}
if [ -n "$corpus" ]; then
  until [ -e "$corpus/corpus.lock" ] && [ -d "$corpus/data/lexical" ]; do
    echo "waiting for the first ingestion into $corpus" >&2
    sleep "${BANKSIGHT_CORPUS_POLL:-5}"
  done
  exec 9< "$corpus/corpus.lock"
  flock --shared 9
  rm -rf "$BANKSIGHT_DATA_DIR/lexical" "$BANKSIGHT_DATA_DIR/originals"
  mkdir -p "$BANKSIGHT_DATA_DIR"
  for part in lexical originals models; do
    [ ! -d "$corpus/data/$part" ] || cp -R "$corpus/data/$part" "$BANKSIGHT_DATA_DIR/"
  done
  # Keeps the lock until this node is ready, for five minutes at most.
  timeout 300 python - <<'PYTHON' &
import os, time, urllib.request
address = "http://127.0.0.1:" + os.environ.get("BANKSIGHT__SERVER__PORT", "3000")
while True:
    try:
        urllib.request.urlopen(address + "/readyz", timeout=2)
        break
    except OSError:
        time.sleep(0.5)
PYTHON
  exec 9<&-
fi
exec python -m bentos serve "$@"
