told="retention deletes another user's tracks by the shared group, and says where it may not"
# Whatever the filter refuses is its death here, and not only an error.
inside 'cp -p /etc/session-store/config.toml right.toml; sed -i "s/^# interval_sec = .*/interval_sec = 1/" /etc/session-store/config.toml
  mkdir -p /run/systemd/system/session-store.service.d
  printf "[Service]\nSystemCallErrorNumber=kill\nRestart=no\n" >/run/systemd/system/session-store.service.d/kill.conf
  systemctl daemon-reload; systemctl restart session-store; systemctl show -P MainPID session-store >/root/same'
until_inside 10 "$healthy"
# The AI worker lets its group write, in one folder not.
inside 'useradd -G session-media worker
  for id in goes is-shut stays; do
    [ $id = is-shut ] && mask=022 || mask=002
    runuser -u worker -- sh -euc "umask $mask; cd /var/lib/session-media/tracks; mkdir -p $id/tracks; echo {} | tee $id/index.json >$id/tracks/seg-0000.jsonl"
    sh -euc "$1" sh $id
    [ $id = stays ] || curl -fsS -o /dev/null -H "Content-Type: application/json" -d "{\"sessionId\":\"$id\",\"endTs\":\"2025-10-11T12:01:00Z\"}" http://127.0.0.1:8080/sessions/close
  done' "$post" || fail "the sessions are not made"
inside 'stat -c "%U %G %a" /var/lib/session-media/tracks/goes | grep -qx "worker session-media 2775"' || fail "the group is not handed down"
inside 'printf "[[retention.rule]]\npaths = [\"cam\"]\nkeep = \"1d\"\n" >>/etc/session-store/config.toml; systemctl reload session-store'
until_inside 15 '! ls -d /var/lib/session-media/tracks/goes'
until_inside 15 'journalctl --no-pager -u session-store | grep -q "a folder of the deleted session is-shut cannot be deleted; may session-store write in the tracks folder?"'
until_inside 15 'curl -s http://127.0.0.1:8080/health | grep -q "The folders of 1 deleted sessions cannot be deleted"'
for id in goes is-shut; do
  inside 'curl -s http://127.0.0.1:8080/sessions/$1 | grep -q "\"session_id\"" && exit 1; ! ls /srv/frames/$1/*.jpg 2>/dev/null | grep -q .' $id || fail "the session $id is still there"
  inside 'journalctl --no-pager -u session-store | grep -q "session $1 of 2025-10-11T12:00:00.000Z is deleted by .*kept for 24 h"' $id || fail "no line tells of $id"
done
inside 'ls /var/lib/session-media/tracks/is-shut/index.json /var/lib/session-media/tracks/stays/index.json >/dev/null && curl -fsS -o /dev/null http://127.0.0.1:8080/sessions/stays' ||
  fail "an open session's tracks are gone"
inside '[ "$(systemctl show -P MainPID session-store)" = "$(cat /root/same)" ]' || fail "it died of a system call"
# Let in, it goes on by itself.
inside 'chmod -R g+w /var/lib/session-media/tracks/is-shut; cp -p right.toml /etc/session-store/config.toml
  rm /run/systemd/system/session-store.service.d/kill.conf; systemctl daemon-reload; systemctl restart session-store'
until_inside 15 '! ls -d /var/lib/session-media/tracks/is-shut'
