told="from an earlier commit's package and store format, under load"
if [[ ! $earlier ]]; then
  figure="skipped, $lacks_earlier"
  return
fi
inside "$install /root/earlier.deb" >"$work/install" 2>&1 || fail "$(cat "$work/install")"
until_inside 10 "$healthy"
was=$(inside 'cat /var/lib/misc/session-store.format')
upgrade_under_load earlier /root/package.deb
figure="$(inside 'wc -l </root/done') sessions, none lost; format $was to $format"
[[ $(inside 'cat /var/lib/misc/session-store.format') == "$format" ]] || fail "the new format is not marked"
inside 'curl -fsS "http://127.0.0.1:8080$(curl -fsS "http://127.0.0.1:8080/ingest/detections/$(sed -n 1p before)" | grep -o "/frames/[^\"]*")" | cmp - frame.jpg' || fail "a frame from before is another"
if ((was < format)); then
  # Saved before the new version touched the store: with what was acknowledged until then.
  inside 'zcat "$1" >saved; for id in $(cat before); do
    grep -q "^{\"session\":.*\"$id\"" saved && grep -q "^{\"detection\":.*\"$id\"" saved || { echo "not saved: $id" >&2; exit 1; }
  done' "/var/backups/session-store-before-format-$format.ndjson.gz" || fail "the catalogue was not saved before the new format"
  inside 'systemctl show -P MainPID session-store >/root/same'
  if inside "$install /root/earlier.deb" >"$work/install" 2>&1; then fail "the earlier version was installed over the new format"; fi
  grep -q "the store on this machine has format $format, and version .* knows formats up to $was" "$work/install" || fail "no sentence: $(cat "$work/install")"
  inside "$healthy"' && [ "$(systemctl show -P MainPID session-store)" = "$(cat /root/same)" ]' || fail "the refusal has cost something"
fi
inside 'systemctl stop session-store.socket session-store.service
  runuser -u session-store -- session-store --config /etc/session-store/config.toml verify' >"$work/install" 2>&1 || fail "$(cat "$work/install")"
