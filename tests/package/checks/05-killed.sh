told="killed, it comes back by itself with all data"
inside 'kill -9 "$(systemctl show -P MainPID session-store)"'
until_inside 10 "$healthy"
inside 'curl -fsS http://127.0.0.1:8080/ingest/detections/first | grep -q "\"count\":1"' || fail "what was acknowledged is gone"
# A reader that comes while it is away waits at the port.
inside 'kill -9 "$(systemctl show -P MainPID session-store)"; curl -fsS -m 10 -o /dev/null http://127.0.0.1:8080/health' || fail "a request between two lives is refused"
