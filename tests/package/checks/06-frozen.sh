told="frozen, it is restarted by the watchdog"
inside 'mkdir -p /run/systemd/system/session-store.service.d
  printf "[Service]\nWatchdogSec=2\n" >/run/systemd/system/session-store.service.d/watchdog.conf
  systemctl daemon-reload; systemctl restart session-store
  systemctl show -P MainPID session-store >/root/frozen; kill -STOP "$(cat /root/frozen)"'
until_inside 20 '[ "$(systemctl show -P MainPID session-store)" != "$(cat /root/frozen)" ] && '"$healthy"
inside 'journalctl --no-pager -u session-store | grep -q -i "watchdog timeout"' || fail "it was not the watchdog"
inside 'rm /run/systemd/system/session-store.service.d/watchdog.conf; systemctl daemon-reload; systemctl restart session-store'
