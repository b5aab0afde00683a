#!/bin/bash
# boot_failed.sh STEP CODE COMMAND: says why this instance is of no use, and ends it.
# Run by worker_boot.sh, and by receipt-worker-failed.service when the worker does not stay up.
# Nothing is written to the disk, which may be full, and no step waits for the success of another.
set -euo pipefail
BOOT_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="${ROOT:-}"
# shellcheck source=/dev/null
. "$BOOT_DIR/boot.env"
# shellcheck source=userdata/boot_common.sh
. "$BOOT_DIR/boot_common.sh"
export AWS_MAX_ATTEMPTS=2
STEP="$1" CODE="$2" COMMAND="$3"

attempt() {
  if "$@"; then log "done: $1"; else log "failed: $1"; fi
}

# The IMDS may be what failed; cloud-init knows the id, too.
instance_id() {
  local file
  for file in "$ROOT/run/receipt-trainer/instance-id" "$ROOT/var/lib/cloud/data/instance-id"; do
    if [ -s "$file" ]; then head -n 1 "$file" && return 0; fi
  done
  echo unknown
}

# Where the worker is what failed, its own words say why; the boot's log knows only that it did.
reason() {
  local log_file="$LOG_DIR/boot.log" last="" unit=""
  case "$STEP" in
    worker | start_worker | watch_worker)
      if [ -s "$LOG_DIR/worker.log" ]; then log_file="$LOG_DIR/worker.log"; fi
      unit=" unit: $(timeout 10 systemctl show --property=Result,ExecMainStatus receipt-worker.service | tr '\n' ' ')"
      ;;
  esac
  if [ -f "$log_file" ]; then last="$(tail -c 1500 "$log_file" | tail -n 6 | tr -d '\r' | tr '\n' '|')"; fi
  printf 'boot failed: step=%s exit=%s command=%s%s last lines: %s' "$STEP" "$CODE" "${COMMAND:0:500}" "$unit" "$last"
}

# systemd starts it again: it would take a job here, and write its own row over ours.
stop_worker() { timeout 100 systemctl stop receipt-worker.service; }

record_log() {
  if ! aws_call logs create-log-stream --log-group-name "$BOOT_LOG_GROUP" --log-stream-name "$INSTANCE_ID"; then
    log "the log stream is there, or cannot be made"
  fi
  aws_call logs put-log-events --cli-input-json "$(fill_json \
    '{"logGroupName": "@group", "logStreamName": "@stream", "logEvents": [{"timestamp": "#ms", "message": "@text"}]}' \
    group="$BOOT_LOG_GROUP" stream="$INSTANCE_ID" ms="${NOW}000" text="$REASON")"
}

record_instance() {
  aws_call dynamodb update-item --cli-input-json "$(fill_json '{"TableName": "@table",
    "Key": {"PK": {"S": "@pk"}, "SK": {"S": "INSTANCE"}},
    "UpdateExpression": "SET #t = :t, #s = :s, #r = :r, #p = :p, #a = :a, #e = :e",
    "ExpressionAttributeNames": {"#t": "TYPE", "#s": "status", "#r": "reason", "#p": "pool", "#a": "at", "#e": "expires_at"},
    "ExpressionAttributeValues": {":t": {"S": "INSTANCE"}, ":s": {"S": "BOOT_FAILED"}, ":r": {"S": "@reason"},
      ":p": {"S": "@pool"}, ":a": {"S": "@at"}, ":e": {"N": "@expires"}}}' \
    table="$INSTANCES_TABLE" pk="INSTANCE#$INSTANCE_ID" reason="$REASON" pool="$POOL" \
    at="$(date -u -d "@$NOW" +%FT%TZ)" expires="$EXPIRES")"
}

record_metric() {
  aws_call cloudwatch put-metric-data --cli-input-json "$(fill_json '{"Namespace": "ReceiptTrainer", "MetricData": [
    {"MetricName": "BootFailures", "Value": 1, "Unit": "Count", "Dimensions": [
      {"Name": "Environment", "Value": "@environment"}, {"Name": "Pool", "Value": "@pool"}]}]}' \
    environment="$ENVIRONMENT" pool="$POOL")"
}

count_failure() {
  aws_call dynamodb update-item --query Attributes.num_failures.N --output text --cli-input-json "$(fill_json '{
    "TableName": "@table", "Key": {"PK": {"S": "@pk"}, "SK": {"S": "BOOT_FAILURES"}}, "ReturnValues": "UPDATED_NEW",
    "UpdateExpression": "ADD num_failures :one SET expires_at = :e",
    "ExpressionAttributeValues": {":one": {"N": "1"}, ":e": {"N": "@expires"}}}' \
    table="$INSTANCES_TABLE" pk="POOL#$POOL" expires="$EXPIRES")"
}

break_loop() {
  local num_failures
  num_failures="$(count_failure)" || return 1
  log "boot failures of pool $POOL in a row: $num_failures"
  ((num_failures >= MAX_BOOT_FAILURES)) || return 0
  REASON="pool $POOL launches no more instances after $num_failures failed boots in a row; when it is mended: aws autoscaling \
resume-processes --auto-scaling-group-name $AUTO_SCALING_GROUP --scaling-processes Launch"
  log "$REASON"
  attempt record_log
  aws_call autoscaling suspend-processes --auto-scaling-group-name "$AUTO_SCALING_GROUP" --scaling-processes Launch
}

# The agent sends what it has read every 5 s (cloudwatch_agent.json); with the instance, the rest would be lost.
flush_logs() {
  if ((SECONDS < LOG_FLUSH_S)); then sleep "$((LOG_FLUSH_S - SECONDS))"; fi
}

end_instance() {
  aws_call autoscaling terminate-instance-in-auto-scaling-group --instance-id "$INSTANCE_ID" \
    --should-decrement-desired-capacity
}

INSTANCE_ID="$(instance_id)"
NOW="$(date +%s)"
EXPIRES=$((NOW + 7 * 86400))
REASON="$(reason)"
log "$REASON"
case "$STEP" in start_worker | watch_worker) attempt stop_worker ;; esac
attempt record_log
attempt record_instance
attempt record_metric
# A spot instance that is taken back while it boots says nothing about the stack.
[ "$STEP" = signal ] || attempt break_loop
attempt flush_logs
attempt end_instance
# In any case: a lifecycle hook would keep the instance, and its price, for minutes.
shutdown -h now
