told="a start that fails is tried again without haste, until it succeeds"
inside 'cp -p /etc/session-store/config.toml right.toml
  sed -i "s/^# cache_mb = .*/cache_mb = -1/" /etc/session-store/config.toml; systemctl restart session-store 2>/dev/null || true'
# Clients that wait at the port have systemd try again at once; four seconds of that must not be a storm, nor the end of the port.
begun=$SECONDS
inside 'for _ in 1 2 3 4 5; do curl -s -o /dev/null -m 0.8 http://127.0.0.1:8080/health || true; done'
starts=$(inside 'journalctl --no-pager -u session-store | grep -c "cache_mb = -1: must be"')
((starts >= 2 && starts <= 2 * (SECONDS - begun) + 4)) || fail "$starts starts in $((SECONDS - begun)) s"
inside 'cp -p right.toml /etc/session-store/config.toml'
until_inside 10 "$healthy"
inside 'systemctl is-active --quiet session-store.socket' || fail "the port was given up"
figure="$starts starts meanwhile"
