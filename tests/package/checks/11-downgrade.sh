told="a version that cannot read the store is refused"
inside 'systemctl show -P MainPID session-store >/root/same'
if inside "$install /root/older.deb" >"$work/install" 2>&1; then fail "it was installed"; fi
grep -q "the store on this machine has format $format, and version 0.0.1 knows formats up to $((format - 1))" "$work/install" || fail "no sentence: $(cat "$work/install")"
inside "$healthy"' && [ "$(systemctl show -P MainPID session-store)" = "$(cat /root/same)" ]' || fail "the refusal has cost something"
