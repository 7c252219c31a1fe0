#!/usr/bin/env bash
# Pushes images that build.sh made, and prints the digests that a deployment names: push.sh backend|ui|chroma|proxy|all
#
#   REGISTRY            where to, with the namespace: registry-vpc.eu-central-1.aliyuncs.com/bank
#   REGISTRY_USER       with REGISTRY_TOKEN, a short-lived password: signed in for this push only; neither: as you are
#   REGISTRY_INSECURE   1: plain HTTP, for a registry on this machine
#   COSIGN_KEY          signs the digest, where cosign is installed
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
: "${REGISTRY:?set REGISTRY to the registry and its namespace}"
. configs/deploy/images/names.sh
case $REVISION in *-dirty) echo "commit first: a tag must name what is in the image" >&2; exit 1 ;; esac

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
plain=() # docker takes loopback registries without being told
[ "${REGISTRY_INSECURE:-}" != 1 ] || [ "$TOOL" = docker ] || plain=(--tls-verify=false)

if [ -n "${REGISTRY_TOKEN:-}" ]; then # on standard input: never among the arguments, which everybody on the machine sees
  if [ "$TOOL" = docker ]; then export DOCKER_CONFIG=$scratch; else export REGISTRY_AUTH_FILE=$scratch/auth.json; fi
  "$TOOL" login "${plain[@]}" --username "${REGISTRY_USER:?set REGISTRY_USER}" --password-stdin \
    "${REGISTRY%%/*}" <<< "$REGISTRY_TOKEN"
fi

push() { # NAME: pushes it and prints its digest
  if [ "$TOOL" = docker ]; then
    docker push --quiet "$1" >&2
    docker image inspect --format '{{index .RepoDigests 0}}' "$1" | sed 's/.*@//'
  else
    "$TOOL" push "${plain[@]}" --digestfile "$scratch/digest" "$1" >&2
    cat "$scratch/digest"
  fi
}

for image in $([ "${1:-all}" = all ] && echo backend ui chroma proxy || echo "$1"); do
  name=$(name_of "$image")
  digest=$(push "$name")
  echo "${name%:*}@$digest"
  if [ -n "${COSIGN_KEY:-}" ]; then
    command -v cosign > /dev/null || { echo "COSIGN_KEY is set, but cosign is not installed" >&2; exit 1; }
    cosign sign --yes --key "$COSIGN_KEY" "${name%:*}@$digest" >&2
  fi
done
