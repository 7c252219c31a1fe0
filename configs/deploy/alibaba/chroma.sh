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

fetch_secrets
mount_files
install -d -o "$USER_ID" -g "$USER_ID" "$FILES/weights" "$FILES/files"
fetch_images "$CHROMA" "$WORKER"

say "services"
write_environment 127.0.0.1
cat >> /etc/banksight/node.env <<'ENV'
BANKSIGHT__GENERATION__ENGINE=extractive
BANKSIGHT__GENERATION__FALLBACK=[]
BANKSIGHT__GENERATION__SERVING=in_process
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
run_at_every_start
systemctl restart banksight-chroma banksight-worker banksight-ingest.timer
[ -d "$FILES/files/originals" ] || systemctl start --no-block banksight-ingest
say "done"
