#!/bin/bash
# First start of the machine that makes the corpus: Chroma on its encrypted disk, the worker, and ingestion every night.
@COMMON@
CHROMA=$REGISTRY/banksight-chroma@@CHROMA_DIGEST@
WORKER=$REGISTRY/banksight-backend@@WORKER_DIGEST@
DISK=/dev/vdb DATA=/var/lib/banksight-chroma DOCUMENTS=/var/lib/banksight-documents

say "disk"
blkid "$DISK" > /dev/null || mkfs.ext4 -q "$DISK"   # never a disk that holds something
mkdir -p "$DATA" "$DOCUMENTS"
grep -q "$DATA" /etc/fstab || echo "UUID=$(blkid -s UUID -o value "$DISK") $DATA ext4 defaults,noatime 0 2" >> /etc/fstab
mountpoint -q "$DATA" || mount "$DATA"
chown "$USER_ID:$USER_ID" "$DATA"

fetch_secrets backup-password
mount_files
install -d -o "$USER_ID" -g "$USER_ID" "$FILES/weights" "$FILES/files"
fetch_images "$CHROMA" "$WORKER"

say "services"
write_environment 127.0.0.1
cat >> /etc/banksight/node.env <<'ENV'
BANKSIGHT__GENERATION__ENGINE=extractive
BANKSIGHT__GENERATION__FALLBACK=[]
BANKSIGHT__GENERATION__SERVING=in_process
BACKUP_PASSWORD_FILE=/run/secrets/backup-password
ENV
cat >> /etc/banksight/node.env <<ENV
BACKUP_REPOSITORY=s3:https://oss-$REGION-internal.aliyuncs.com/@BACKUPS_BUCKET@
BANKSIGHT__BACKUP__OPTIONS=[s3.bucket-lookup=dns, s3.region=oss-$REGION]
ENV
unit banksight-chroma "$ALWAYS" "-v $DATA:/var/lib/chroma $CHROMA"
unit banksight-worker "$ALWAYS" "$MOUNTS -v $FILES/files:/files -v $DOCUMENTS:/documents:ro $WORKER worker.sh"
cat > /etc/systemd/system/banksight-ingest.service <<UNIT
[Service]
Type=oneshot
ExecStartPre=/usr/bin/aliyun oss sync oss://@DOCUMENTS_BUCKET@ $DOCUMENTS --delete --force --profile banksight --region $REGION
ExecStartPre=/bin/sh -c 'until docker exec banksight-worker worker.sh check; do sleep 10; done'
ExecStart=/usr/bin/docker exec banksight-worker banksight ingest
UNIT
printf '[Timer]\nOnCalendar=*-*-* 02:00:00\nPersistent=true\n' > /etc/systemd/system/banksight-ingest.timer
# As this machine's role, whose key is good for some hours: no key is kept anywhere.
cat > /usr/local/sbin/banksight-backup <<BACKUP
#!/bin/bash
set -euo pipefail
metadata=$metadata
key=\$(curl -sf -H "X-aliyun-ecs-metadata-token: \$(curl -sf -X PUT -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 300' \\
  \$metadata/api/token)" \$metadata/meta-data/ram/security-credentials/$role)
field() { python3 -c 'import json, sys; sys.stdout.write(json.load(sys.stdin)[sys.argv[1]])' "\$1" <<< "\$key"; }
AWS_ACCESS_KEY_ID=\$(field AccessKeyId) AWS_SECRET_ACCESS_KEY=\$(field AccessKeySecret) AWS_SESSION_TOKEN=\$(field SecurityToken)
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
exec docker exec -e AWS_ACCESS_KEY_ID -e AWS_SECRET_ACCESS_KEY -e AWS_SESSION_TOKEN banksight-worker backup.sh
BACKUP
chmod 700 /usr/local/sbin/banksight-backup
printf '[Service]\nType=oneshot\nExecStart=/usr/local/sbin/banksight-backup\n' > /etc/systemd/system/banksight-backup.service
printf '[Timer]\nOnCalendar=*-*-* 03:30:00\nPersistent=true\n' > /etc/systemd/system/banksight-backup.timer
run_at_every_start
systemctl restart banksight-chroma banksight-worker banksight-ingest.timer banksight-backup.timer
[ -d "$FILES/files/originals" ] || systemctl start --no-block banksight-ingest
say "done"
