told="back in the old format, by the documented way"
inside 'systemctl stop session-store.socket session-store.service
  mv /var/lib/session-store /var/lib/session-store.newer; rm /var/lib/misc/session-store.format'
inside "$install /root/package.deb" >"$work/install" 2>&1 || fail "$(cat "$work/install")"
inside 'systemctl stop session-store.socket session-store.service
  rm -r /var/lib/session-store/*; rm "/srv/frames/\\store"
  zcat "$1" | runuser -u session-store -- session-store --config /etc/session-store/config.toml import -
  systemctl start session-store.socket session-store.service' "/var/backups/session-store-before-format-$((format + 1)).ndjson.gz" >"$work/install" 2>&1 ||
  fail "$(cat "$work/install")"
until_inside 10 "$healthy"
inside 'curl -fsS -o /dev/null "http://127.0.0.1:8080$(curl -fsS http://127.0.0.1:8080/ingest/detections/shared | grep -o "/frames/[^\"]*")"' || fail "a frame is not there again"
inside "$post" back || fail "a new frame is not kept"
