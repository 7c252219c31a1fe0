#!/usr/bin/env bash
# Builds one image, or all: build.sh backend|ui|chroma|proxy|all, with docker, podman or buildah, whichever is there.
#
#   TARGET        cpu | gn6v | cuda: which torch the backend gets (bentos/targets)
#   BASE          the base image, by digest in production: docker.io/library/python@sha256:…
#   REGISTRY      what images are named after; empty: local names
#   BUILD_ARGS    more options for the builder, as --network=host
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
. configs/deploy/images/names.sh

builder() {
  case $TOOL in
    docker) docker build "$@" ;;
    podman) podman build --format docker "$@" ;;
    buildah) buildah build --format docker --layers "$@" ;;
  esac
}

size() {
  case $TOOL in
    docker | podman) "$TOOL" image inspect --format '{{.Size}}' "$1" ;;
    buildah) buildah inspect --type image --format '{{.FromImageID}}' "$1" | xargs -I{} buildah images --format '{{.Size}}' {} ;;
  esac
}

context_of() { # the files that the image is made of, and nothing else
  local image=$1 context=dist/context-$1
  rm -rf "$context" && mkdir -p "$context"
  cp configs/deploy/images/sbom.py constraints.txt "$context"
  case $image in
    backend)
      local bento=dist/bentoml/bentos/banksight/$TAG
      [ -d "$bento" ] || { echo "there is no bento $TAG: run make bento TARGET=$TARGET" >&2; exit 1; }
      cp -R "$bento/src" "$bento/env" configs/deploy/images/{banksight,worker.sh,backup.sh} "$context" ;;
    ui) tracked ui "$context" ;;
    proxy)
      tracked rag "$context"; tracked connectors "$context"; tracked configs/base.yaml "$context"
      tracked configs/deploy/nginx "$context"
      cp configs/deploy/images/proxy.yaml "$context" ;;
  esac
}

tracked() { # what git knows, so that no .env or cache gets in
  git ls-files -z -- "$1" | xargs -0 cp --parents -t "$2"
}

for image in $([ "${1:-all}" = all ] && echo backend ui chroma proxy || echo "$1"); do
  context_of "$image"
  name=$(name_of "$image")
  # shellcheck disable=SC2086  # BUILD_ARGS are words
  builder --file "configs/deploy/images/$image.Dockerfile" --tag "$name" \
    ${BASE:+--build-arg "BASE=$BASE"} ${PIP_EXTRA_INDEX_URL:+--build-arg "PIP_EXTRA_INDEX_URL=$PIP_EXTRA_INDEX_URL"} \
    --build-arg "TARGET=$TARGET" --build-arg "VERSION=$VERSION" --build-arg "REVISION=$REVISION" \
    ${BUILD_ARGS:-} "dist/context-$image"
  echo "$name  $(size "$name")"
done
