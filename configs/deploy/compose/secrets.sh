#!/bin/sh
# Makes the secrets of this stack as files, those that are not there yet. Others on this machine cannot enter the folder;
# in it files are readable, because containers read them as another user.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets && chmod 0700 secrets
umask 022
make() { [ -e "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; }
random() { openssl rand -hex 32; }
make postgres_password "$(random)"
make redis_password "$(random)"
make cache_secret "$(random)"
make key_pepper "$(random)"
make grafana_password "$(random)"
make backup_password "$(random)"
make backup_credentials ""   # of an object store, in the form of ~/.aws/credentials
make database_url "postgresql+psycopg://banksight:$(cat secrets/postgres_password)@postgres:5432/banksight"
make redis_url "redis://:$(cat secrets/redis_password)@redis:6379/0"
for yours in tls_certificate.pem tls_certificate_key.pem tls_authorities.pem; do
  [ -e "secrets/$yours" ] || echo "put $yours into $(pwd)/secrets" >&2
done
