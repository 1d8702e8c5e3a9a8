told="a reload takes the settings over, a broken file does nothing"
hook='curl -s -o /dev/null -w "%{http_code}" -H "Content-Type: application/json" -d "{\"path\":\"cam\",\"eventTs\":\"2025-10-11T12:00:00Z\"}" http://127.0.0.1:8080/hooks/mediamtx/publish'
inside 'sed -i "s/^# hook_token = .*/hook_token = \"hunter2\"/" /etc/session-store/config.toml; systemctl show -P MainPID session-store >/root/same
  systemctl reload session-store'
until_inside 5 '[ "$('"$hook"')" = 401 ]'
inside 'cp /etc/session-store/config.toml /root/right; echo "port = = 1" >>/etc/session-store/config.toml; systemctl reload session-store'
line=$(inside 'wc -l </etc/session-store/config.toml')
until_inside 5 "journalctl --no-pager -u session-store | grep -q 'config.toml: line $line:'"
inside "$healthy"' && [ "$(systemctl show -P MainPID session-store)" = "$(cat /root/same)" ]' || fail "a broken file has stopped it"
inside 'cp /root/right /etc/session-store/config.toml; sed -i "s/^hook_token = .*/# hook_token = \"secret\" # set by the operator/" /etc/session-store/config.toml; systemctl reload session-store'
until_inside 5 '[ "$('"$hook"')" = 200 ]'
until_inside 10 'systemctl show -P StatusText session-store | grep -q "^ok, .* open session"'
