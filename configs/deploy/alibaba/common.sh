# What both kinds of machine do first. Every step may be repeated; one that fails ends the script, and its log says why.
set -Eeuo pipefail   # E: the trap below holds in functions too
exec > >(tee -a /var/log/banksight-launch.log) 2>&1
say() { echo "$(date -u +%FT%TZ) $*"; }
fail() { say "FAILED: $*"; exit 1; }
trap 'fail "$BASH_COMMAND"' ERR

REGION=@REGION@ REGISTRY=@REGISTRY@ USER_ID=10001
SECRETS=/run/banksight/secrets CA=/etc/banksight/ca FILES=/mnt/banksight

for tool in docker aliyun python3 mount.nfs4 curl openssl; do
  command -v "$tool" > /dev/null || fail "the image of this machine lacks $tool: see docs/alibaba.md"
done
metadata=http://100.100.100.200/latest
role=$(curl -sf -H "X-aliyun-ecs-metadata-token: $(curl -sf -X PUT -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 300' \
  $metadata/api/token)" $metadata/meta-data/ram/security-credentials/)
aliyun configure set --mode EcsRamRole --ram-role-name "$role" --region "$REGION" --profile banksight > /dev/null
ask() { aliyun "$@" --profile banksight --region "$REGION"; }
field() { python3 -c 'import json, sys; sys.stdout.write(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

fetch_secrets() { # into a file system in memory; names of more than every machine needs
  say "secrets"
  mkdir -p "$SECRETS"
  mountpoint -q "$SECRETS" || mount -t tmpfs -o mode=0700,size=1m tmpfs "$SECRETS"
  for name in database-url redis-url cache-secret key-pepper "$@"; do
    ( umask 077; ask kms GetSecretValue --SecretName "banksight/$name" | field SecretData > "$SECRETS/$name" )
    [ -s "$SECRETS/$name" ] || fail "the secret banksight/$name is empty"
  done
  chown -R "$USER_ID:$USER_ID" "$SECRETS"
  mkdir -p "$CA"
  ask oss cp "oss://@MODELS_BUCKET@/ca/ApsaraDB-CA-Chain.pem" "$CA/ApsaraDB-CA-Chain.pem" --force > /dev/null
  openssl x509 -in "$CA/ApsaraDB-CA-Chain.pem" -noout -checkend 604800 || fail "the stores' CA certificate ends within a week"
}

mount_files() { # weights, and originals and uploads, which every machine writes
  say "weights and files"
  mkdir -p "$FILES"
  mountpoint -q "$FILES" || mount -t nfs4 -o "rw,vers=4.0,proto=tcp,rsize=1048576,wsize=1048576,hard,timeo=600,noresvport" \
    "@WEIGHTS@:/" "$FILES"
}

fetch_images() { # by digest: other bytes than those that were tested are refused
  say "images"
  local token host=${REGISTRY%%/*}
  token=$(ask cr GetAuthorizationToken --InstanceId "@REGISTRY_ID@" --force --version 2018-12-01)
  field AuthorizationToken <<< "$token" | docker login --username "$(field TempUsername <<< "$token")" --password-stdin "$host" > /dev/null
  for image in "$@"; do docker pull -q "$image"; done
  docker logout "$host" > /dev/null
}

write_environment() { # of API and worker, as in configs/deploy/compose/compose.yaml; $1: where Chroma is
  install -m 600 /dev/null /etc/banksight/node.env
  cat > /etc/banksight/node.env <<ENV
BANKSIGHT_PROFILE=production
FILES_DIR=/files
BANKSIGHT__SOURCES=[{name: documents, kind: filesystem, collection: documents, root: /documents}]
VECTOR_DB_HOST=$1
CACHE_DIR=/weights
LOG_DIR=/var/log/banksight
DATABASE_URL_FILE=/run/secrets/database-url
REDIS_URL_FILE=/run/secrets/redis-url
CACHE_SECRET_FILE=/run/secrets/cache-secret
KEY_PEPPER_FILE=/run/secrets/key-pepper
ENV
}

MOUNTS="--env-file /etc/banksight/node.env -v $SECRETS:/run/secrets:ro -v $CA:$CA:ro \
-v /var/lib/banksight:/var/lib/banksight -v /var/log/banksight:/var/log/banksight"
mkdir -p /var/lib/banksight /var/log/banksight /etc/banksight
chown "$USER_ID:$USER_ID" /var/lib/banksight /var/log/banksight

unit() { # name, lines of [Service], what comes after `docker run`
  cat > "/etc/systemd/system/$1.service" <<UNIT
[Unit]
After=docker.service network-online.target
Requires=docker.service
[Service]
$2
ExecStartPre=-/usr/bin/docker rm -f $1
ExecStart=/usr/bin/docker run --name $1 --network host --user $USER_ID:$USER_ID --read-only --tmpfs /tmp:size=2g \
--init --cap-drop ALL --security-opt no-new-privileges --log-driver journald $3
ExecStop=/usr/bin/docker stop -t 40 $1
TimeoutStopSec=60
UNIT
}
ALWAYS=$'Restart=always\nRestartSec=5'

run_at_every_start() { # what is in memory only is gone after a reboot: this script runs again then, and starts the services
  [ "$0" -ef /usr/local/sbin/banksight-launch ] || install -m 700 "$0" /usr/local/sbin/banksight-launch
  cat > /etc/systemd/system/banksight-launch.service <<UNIT
[Unit]
After=docker.service network-online.target
Wants=network-online.target
[Service]
Type=oneshot
TimeoutStartSec=60min
ExecStart=/usr/local/sbin/banksight-launch
[Install]
WantedBy=multi-user.target
UNIT
  systemctl daemon-reload
  systemctl enable banksight-launch
}
