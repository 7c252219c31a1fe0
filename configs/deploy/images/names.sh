# Sourced in the repository's root: what images are called, and with which tool they are made and pushed.
TARGET=${TARGET:-cpu}
[ -f "bentos/targets/$TARGET.txt" ] \
  || { echo "TARGET is $TARGET; there are: $(basename -s .txt bentos/targets/*.txt | xargs)" >&2; exit 2; }
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION=$(git rev-parse --short=12 HEAD)$([ -z "$(git status --porcelain)" ] || echo -dirty)
TAG=$VERSION-$TARGET-$REVISION
TOOL=${TOOL:-$(for each in docker podman buildah; do "$each" info > /dev/null 2>&1 && echo "$each" && break; done || true)}
[ -n "$TOOL" ] || { echo "neither docker, podman nor buildah works here; install one of them, or start its service" >&2; exit 1; }

name_of() { # only the backend differs by target, so only its tag says one
  local tag=$VERSION-$REVISION
  [ "$1" != backend ] || tag=$TAG
  echo "${REGISTRY:+$REGISTRY/}banksight-$1:$tag"
}
