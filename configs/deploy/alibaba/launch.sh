#!/bin/bash
# First start of a node. Where a step fails the node never becomes ready, and Auto Scaling replaces it.
@COMMON@
BACKEND=$REGISTRY/banksight-backend@@BACKEND_DIGEST@
UI=$REGISTRY/banksight-ui@@UI_DIGEST@
[ "@GPUS@" = none ] || nvidia-smi > /dev/null || fail "no driver for the card: the machine's image needs driver 550"

fetch_secrets
mount_files
[ -d "$FILES/files" ] || fail "no folder of files on the file system: the Chroma machine makes it"
fetch_images "$BACKEND" "$UI"

say "services"
echo banksight-node > /etc/ilogtail/user_defined_id 2> /dev/null || say "no Logtail on this machine: its log lines stay here"
write_environment "@CHROMA@"
fallback='["extractive"]' serving=service gpus="--gpus @GPUS@"
[ "@ENGINE@" != extractive ] || { fallback='[]' serving=in_process gpus=; }
cat >> /etc/banksight/node.env <<ENV
BANKSIGHT__GENERATION__ENGINE=@ENGINE@
BANKSIGHT__GENERATION__FALLBACK=$fallback
BANKSIGHT__GENERATION__SERVING=$serving
BANKSIGHT__GENERATION__MISTRAL__SLOTS=@SLOTS@
BANKSIGHT__ADMISSION__SLOTS=$((@ADMITTED@ / 2))
BANKSIGHT__SERVER__ALLOWED_HOSTS=["@API_HOST@"]
ENV
unit banksight-backend "$ALWAYS" "$gpus $MOUNTS -v $FILES/weights:/weights:ro -v $FILES/files:/files $BACKEND"
unit banksight-ui "$ALWAYS" "-e BANKSIGHT_API_URL=http://127.0.0.1:3000 -e BANKSIGHT_DATA_DIR=/tmp/ui $UI"

cat > /usr/local/sbin/banksight-p95 <<'PROGRAM'
@P95@
PROGRAM
cat > /etc/systemd/system/banksight-p95.service <<UNIT
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /usr/local/sbin/banksight-p95 --group @METRICS_GROUP@ --region $REGION
UNIT
printf '[Timer]\nOnCalendar=minutely\nAccuracySec=1s\n' > /etc/systemd/system/banksight-p95.timer
run_at_every_start
systemctl restart banksight-backend banksight-ui banksight-p95.timer

say "waiting until it can answer"
for _ in $(seq 180); do
  ! curl -sf -o /dev/null http://127.0.0.1:3000/readyz || { say "ready"; exit 0; }
  sleep 5
done
fail "not ready after 15 minutes: journalctl -u banksight-backend"
