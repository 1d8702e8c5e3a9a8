told="all that it asks of the kernel passes the filter"
# It is known to catch one.
inside '! systemd-run --quiet --wait -p "SystemCallFilter=@system-service" -p "SystemCallFilter=~@privileged @resources" -p SystemCallErrorNumber=kill nice -n 5 true' 2>/dev/null || fail "the filter lets all pass"
# Whatever the filter refuses is its death here, and not only an error.
inside 'sed -i "s/^# sidecar_delay_sec = .*/sidecar_delay_sec = 0/" /etc/session-store/config.toml
  printf "[Service]\nSystemCallErrorNumber=kill\nRestart=no\n" >/run/systemd/system/session-store.service.d/kill.conf
  systemctl daemon-reload; systemctl restart session-store; systemctl show -P MainPID session-store >/root/same'
inside 'touch /root/loading; rm -f /root/done /root/failed; for agent in a b c d; do setsid sh /root/agent.sh /root/loading /root/done /root/failed "filter-$agent" >/dev/null 2>&1 & done'
inside '
  url=http://127.0.0.1:8080
  get() { curl -fsS -o /dev/null --compressed "$@"; }
  install -d /var/lib/session-media/tracks/first/tracks
  echo "{\"closed\":false}" >/var/lib/session-media/tracks/first/index.json
  echo "{}" >/var/lib/session-media/tracks/first/tracks/seg-0000.jsonl
  for _ in 1 2 3 4 5 6 7 8; do
    get "$url/sessions?limit=1000"; get "$url/sessions/range?from=2025-10-11&to=2025-10-12"; get "$url/sessions?classes=person"
    get "$url/changes?since=0&limit=10"; get "$url/export"; get "$url/health"; get -r 0-9 "$url$(curl -fsS "$url/ingest/detections/shared" | grep -o "/frames/[^\"]*")"
    get "$url/sessions/first/tracks/index"; get "$url/sessions/first/tracks/seg-0000.jsonl"
    get -H "Content-Type: application/json" -d "{\"path\":\"cam\",\"eventTs\":\"2025-10-11T12:00:00Z\"}" "$url/hooks/mediamtx/publish"
    systemctl reload session-store
  done
  get "$url/verify?deep=true"
  get -H "Content-Type: application/json" -d "{\"sessionId\":\"first\",\"endTs\":\"2025-10-11T12:01:00Z\"}" "$url/sessions/close"
  session-store --config /etc/session-store/config.toml backup /root/backup 2>/dev/null
  rm /root/loading'
until_inside 15 '[ -z "$(ls agents)" ] && '"$healthy"
inside '[ ! -s /root/failed ] && [ "$(systemctl show -P MainPID session-store)" = "$(cat /root/same)" ]' || fail "it died of a system call, or refused something"
# The record of a closed session, and a stop in order, ask for calls of their own.
until_inside 20 'ls "/srv/frames/first/"*session.ndjson'
inside 'systemctl stop session-store.service session-store.socket; systemctl show -P Result session-store | grep -qx success' || fail "it did not stop in order"
figure="$(inside 'wc -l </root/done') sessions meanwhile"
inside 'rm /run/systemd/system/session-store.service.d/kill.conf; systemctl daemon-reload; systemctl start session-store.socket session-store.service'
