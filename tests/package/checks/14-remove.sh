told="removed, the data stay; installed again, they are there"
inside 'dpkg -r session-store' >"$work/install" 2>&1 || fail "$(cat "$work/install")"
inside '[ -e /var/lib/session-store/session-store.redb ] && [ -e /etc/session-store/config.toml ] && ! curl -s -o /dev/null http://127.0.0.1:8080/health' || fail "the data are gone, or it still runs"
if inside "$install /root/older.deb" >"$work/install" 2>&1; then fail "the store's format was forgotten with the package"; fi
inside "$install /root/package.deb" >"$work/install" 2>&1 || fail "$(cat "$work/install")"
until_inside 10 "$healthy"
inside 'curl -fsS http://127.0.0.1:8080/ingest/detections/first | grep -q "\"count\":1"' || fail "the data are not there"
