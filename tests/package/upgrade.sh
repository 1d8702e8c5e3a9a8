# An upgrade under load; to be sourced by run.

# Installs the package at $2 (inside) while four agents, named after $1, go on: none may be refused, and nothing lost that was acknowledged.
# What was acknowledged before it began is then in /root/before, all of it in /root/done.
upgrade_under_load() {
  inside 'touch /root/loading; rm -f /root/done /root/failed; systemctl show -P MainPID session-store >/root/old
    for agent in a b c d; do setsid sh /root/agent.sh /root/loading /root/done /root/failed "$1-$agent" >/dev/null 2>&1 & done' "$1"
  until_inside 10 '[ "$(wc -l </root/done)" -ge 20 ]'
  inside 'cp /root/done /root/before'
  inside "$install $2" >"$work/install" 2>&1 || fail "$(cat "$work/install")"
  inside 'wc -l </root/done >/root/so-far'
  until_inside 10 '[ "$(wc -l </root/done)" -ge "$(($(cat /root/so-far) + 20))" ]'
  inside 'rm /root/loading'
  until_inside 25 '[ -z "$(ls agents)" ]'
  inside '[ "$(systemctl show -P MainPID session-store)" != "$(cat /root/old)" ]' || fail "the new version does not run"
  [[ -z $(inside 'cat /root/failed 2>/dev/null || true') ]] || fail "refused: $(inside 'cat /root/failed')"
  inside 'for id in $(cat /root/done); do
    curl -fsS "http://127.0.0.1:8080/ingest/detections/$id" | grep -q "\"count\":1" || { echo "lost: $id" >&2; exit 1; }
  done' || fail "what was acknowledged is gone"
}
