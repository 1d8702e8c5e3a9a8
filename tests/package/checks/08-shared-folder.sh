told="a frames folder of another user and a shared group works"
inside 'useradd -G session-media mediamtx; install -d -o mediamtx -g session-media -m 2770 /srv/frames
  sed -i "s|^storage_path = \"/var/lib/session-store/frames\"|storage_path = \"/srv/frames\"|" /etc/session-store/config.toml
  mkdir -p /etc/systemd/system/session-store.service.d
  printf "[Service]\nReadWritePaths=/srv/frames\n" >/etc/systemd/system/session-store.service.d/frames.conf
  systemctl daemon-reload; systemctl stop session-store.socket session-store.service
  mv /var/lib/session-store/frames/* /srv/frames/; chgrp -R session-media /srv/frames; find /srv/frames -type d -exec chmod g+s {} +
  systemctl start session-store.socket session-store.service'
until_inside 10 "$healthy"
inside "$post" shared || fail "a frame is not kept there"
inside 'runuser -u mediamtx -- cat /srv/frames/shared/*.jpg | cmp - /root/frame.jpg' || fail "the group cannot read it"
inside 'curl -fsS -o /dev/null "http://127.0.0.1:8080$(curl -fsS http://127.0.0.1:8080/ingest/detections/shared | grep -o "/frames/[^\"]*")"' || fail "it is not served"
