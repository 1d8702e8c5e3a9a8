told="before a new format the catalogue is saved"
sessions=$(inside 'curl -fsS http://127.0.0.1:8080/health | grep -o "\"sessions\":[0-9]*" | cut -d: -f2')
inside "$install /root/newer.deb" >"$work/install" 2>&1 || fail "$(cat "$work/install")"
saved=$(inside "zcat /var/backups/session-store-before-format-$((format + 1)).ndjson.gz | grep -c '^{\"session\":'")
[[ $saved == "$sessions" ]] || fail "$saved of $sessions sessions were saved"
inside '[ "$(stat -c "%U %a" /var/backups/session-store-before-* | sort -u)" = "root 600" ]' || fail "anybody may read the saved catalogue"
if inside "$install /root/package.deb" >"$work/install" 2>&1; then fail "the version before was installed over the new format"; fi
until_inside 10 "$healthy"
