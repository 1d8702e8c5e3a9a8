told="an upgrade under load refuses no request and loses nothing"
upgrade_under_load upgrade /root/package.deb
inside 'grep -q "set by the operator" /etc/session-store/config.toml && ! grep -q "of version" /etc/session-store/config.toml.dpkg-dist 2>/dev/null' || fail "the changed settings were not kept"
figure="$(inside 'wc -l </root/done') sessions, none lost"
