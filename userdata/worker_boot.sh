#!/bin/bash
# Makes a worker of a fresh instance: trainer, file systems, environment, unit. Whatever fails, ends the instance.
set -Eeuo pipefail
umask 022
BOOT_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
STEP=start COMMAND="" ROOT="${ROOT:-}"

fail() {
  local code="$1"
  trap - EXIT ERR USR1 TERM INT HUP
  ROOT="$ROOT" bash "$BOOT_DIR/boot_failed.sh" "$STEP" "$code" "$COMMAND"
  exit "$code"
}
on_exit() { [ "$1" -eq 0 ] || fail "$1"; }
on_signal() {
  COMMAND="SIG$1 during $STEP" STEP=signal
  exit 143
}
on_deadline() {
  COMMAND="not booted after $BOOT_DEADLINE_S s"
  exit 124
}
trap 'COMMAND="$BASH_COMMAND"' ERR
trap 'on_exit "$?"' EXIT
trap on_deadline USR1
trap 'on_signal TERM' TERM
trap 'on_signal INT' INT
trap 'on_signal HUP' HUP

# shellcheck source=/dev/null
. "$BOOT_DIR/boot.env"
# shellcheck source=userdata/boot_common.sh
. "$BOOT_DIR/boot_common.sh"
# shellcheck source=userdata/install_trainer.sh
. "$BOOT_DIR/install_trainer.sh"

step() {
  STEP="$1"
  local started="$SECONDS"
  log "step $STEP"
  "$STEP"
  log "step $STEP took $((SECONDS - started)) s"
}

imds() {
  retry "$IMDS_DEADLINE_S" curl -fsS --noproxy '*' --max-time 3 "$@"
}

identify() {
  local imds="${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}/latest" token name value
  token="$(imds -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/api/token")"
  for name in instance-id instance-type instance-life-cycle placement/availability-zone; do
    value="$(imds -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/$name")"
    log "$name: $value"
    printf '%s\n' "$value" >"$BOOT_DIR/${name##*/}"
  done
}

install() {
  local found=""
  if ! found="$(marker_hash)"; then log "the image's marker cannot be read"; fi
  if [ "$found" = "$WHEELHOUSE_HASH" ]; then
    log "a golden image with this wheelhouse: nothing to install"
    return 0
  fi
  log "installing: the image has the wheelhouse '${found:-none}'"
  install_packages
  fetch_wheels
  install_wheels
  warm_cache
  write_marker
}

ship_logs() {
  local config="$ROOT/etc/receipt-trainer/cloudwatch_agent.json"
  mkdir -p "${config%/*}"
  fill_json "$(<"$BOOT_DIR/cloudwatch_agent.json")" boot="$BOOT_LOG_GROUP" worker="$WORKER_LOG_GROUP" >"$config"
  "$ROOT/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl" -a fetch-config -m ec2 -s -c "file:$config"
}

mount_one() {
  local dir="$1" options="tls,iam,accesspoint=$2" probe
  probe="$ROOT$dir/.boot-$(<"$BOOT_DIR/instance-id")"
  mkdir -p "$ROOT$dir"
  # For a restart of the instance; nofail, so that a missing file system fails the worker's unit, not the whole boot.
  echo "$FILE_SYSTEM_ID:/ $dir efs _netdev,nofail,$options 0 0" >>"$ROOT/etc/fstab"
  retry "$MOUNT_DEADLINE_S" timeout "$CALL_TIMEOUT_S" mount -t efs -o "$options" "$FILE_SYSTEM_ID:/" "$ROOT$dir"
  setpriv --reuid=1000 --regid=1000 --clear-groups touch "$probe"
  rm -f "$probe"
}

mount_efs() {
  mount_one /mnt/checkpoints "$CHECKPOINTS_ACCESS_POINT_ID"
  mount_one /mnt/training "$TRAINING_ACCESS_POINT_ID"
}

# People come in by SSM sessions. An image without sshd is as well.
stop_sshd() {
  local unit
  for unit in sshd.socket sshd.service; do
    if systemctl disable --now "$unit"; then log "$unit is off"; else log "$unit could not be switched off"; fi
  done
}

configure() {
  stop_sshd
  local etc="$ROOT/etc/receipt-trainer" kept="$ROOT/opt/receipt-trainer/boot" file
  mkdir -p "$etc" "$kept" "$ROOT/etc/systemd/system/logrotate.timer.d" "$ROOT/etc/logrotate.d"
  cp "$BOOT_DIR/worker.env" "$etc/worker.env.new"
  chown root:ec2-user "$etc/worker.env.new"
  chmod 640 "$etc/worker.env.new"
  mv "$etc/worker.env.new" "$etc/worker.env"
  for file in boot.env boot_common.sh boot_failed.sh; do cp "$BOOT_DIR/$file" "$kept/$file"; done
  for file in receipt-worker.service receipt-worker-failed.service; do
    cp "$BOOT_DIR/$file" "$ROOT/etc/systemd/system/$file"
  done
  cp "$BOOT_DIR/logrotate.conf" "$ROOT/etc/logrotate.d/receipt-trainer"
  cp "$BOOT_DIR/logrotate_timer.conf" "$ROOT/etc/systemd/system/logrotate.timer.d/receipt-trainer.conf"
}

start_worker() {
  systemctl daemon-reload
  systemctl enable --now receipt-worker.service
  if ! { systemctl enable logrotate.timer && systemctl restart logrotate.timer; }; then log "logs are not rotated"; fi
}

# A worker that cannot import or cannot reach its queue is a boot that failed, also where systemd started it.
watch_worker() {
  local end=$((SECONDS + SETTLE_S))
  while :; do
    systemctl is-active --quiet receipt-worker.service
    [ "$(systemctl show --property=NRestarts --value receipt-worker.service)" = 0 ]
    if ((SECONDS >= end)); then return 0; fi
    sleep 5
  done
}

# From here on a worker may have a job: nothing below may end the instance.
forget_failures() {
  aws_call dynamodb update-item --cli-input-json "$(fill_json '{"TableName": "@table",
    "Key": {"PK": {"S": "@pk"}, "SK": {"S": "BOOT_FAILURES"}}, "UpdateExpression": "SET num_failures = :zero",
    "ExpressionAttributeValues": {":zero": {"N": "0"}}}' table="$INSTANCES_TABLE" pk="POOL#$POOL")"
}

mkdir -p "$LOG_DIR"
echo "receipt-trainer: the boot's log is $LOG_DIR/boot.log"
exec >>"$LOG_DIR/boot.log" 2>&1
step identify
step install
step ship_logs
step mount_efs
step configure
step start_worker
step watch_worker
trap - EXIT ERR USR1 TERM INT HUP
if ! forget_failures; then log "the pool's count of failed boots could not be reset"; fi
log "booted in $SECONDS s"
