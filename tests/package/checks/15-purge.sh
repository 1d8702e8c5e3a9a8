told="purged, its own data and user are gone and nothing of others"
inside 'install -d /var/lib/session-store/recordings; echo video >/var/lib/session-store/recordings/a.mp4
  install -d /var/lib/session-media/tracks/first; echo "{}" >/var/lib/session-media/tracks/first/index.json; dpkg -P session-store' >"$work/install" 2>&1 || fail "$(cat "$work/install")"
inside '! ls /var/lib/session-store/session-store.redb* /var/lib/session-store/frames /etc/session-store /etc/default/session-store /var/lib/misc/session-store.format /var/backups/session-store* 2>/dev/null | grep -q .' || fail "something of its own is left"
inside '! getent passwd session-store && ! getent group session-store' || fail "its user is left"
inside '[ -e /var/lib/session-store/recordings/a.mp4 ] && [ -e /var/lib/session-media/tracks/first/index.json ] && ls /srv/frames/shared/*.jpg >/dev/null && getent group session-media >/dev/null' || fail "something of others is gone"
inside '! systemctl list-unit-files --no-legend "session-store*" | grep -q enabled' || fail "a unit is still enabled"
