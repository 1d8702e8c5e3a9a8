told="requests are found in the journal by their fields"
until_inside 5 'journalctl -o json METHOD=POST PATH=/ingest STATUS=200 _SYSTEMD_UNIT=session-store.service | grep -q "\"ELAPSED_MS\":"'
inside 'journalctl -o json METHOD=POST | grep -q "\"REQUEST_ID\":" && journalctl -o json METHOD=POST | grep -q "\"IP\":\"127.0.0.1\""' || fail "fields are missing"
inside '! journalctl -o json METHOD=OPTIONS | grep -q .' || fail "the watchdog's probes are logged"
