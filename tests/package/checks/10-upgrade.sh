told="an upgrade under load refuses no request and loses nothing"
inside 'touch /root/loading; rm -f /root/done /root/failed; systemctl show -P MainPID session-store >/root/old
  for agent in a b c d; do setsid sh /root/agent.sh /root/loading /root/done /root/failed "upgrade-$agent" >/dev/null 2>&1 & done'
until_inside 10 '[ "$(wc -l </root/done)" -ge 20 ]'
inside "$install /root/package.deb" >"$work/install" 2>&1 || fail "$(cat "$work/install")"
inside 'wc -l </root/done >/root/so-far'
until_inside 10 '[ "$(wc -l </root/done)" -ge "$(($(cat /root/so-far) + 20))" ]'
inside 'rm /root/loading'
until_inside 25 '[ -z "$(ls agents)" ]'
inside '[ "$(systemctl show -P MainPID session-store)" != "$(cat /root/old)" ]' || fail "the new version does not run"
[[ $(inside 'cat /root/failed 2>/dev/null || true') ]] && fail "refused: $(inside 'cat /root/failed')"
inside 'for id in $(cat /root/done); do curl -fsS "http://127.0.0.1:8080/ingest/detections/$id" | grep -q "\"count\":1" || { echo "lost: $id"; exit 1; }; done' || fail "what was acknowledged is gone"
inside 'grep -q "set by the operator" /etc/session-store/config.toml && ! grep -q "of version" /etc/session-store/config.toml.dpkg-dist 2>/dev/null' || fail "the changed settings were not kept"
figure="$(inside 'wc -l </root/done') sessions, none lost"
