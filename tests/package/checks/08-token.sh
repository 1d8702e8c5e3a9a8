told="tokens come from root's files, and what a proxy passes on needs one"
through='curl -s -o /dev/null -w "%{http_code}" -H "Via: 1.1 proxy"'
inside 'echo a-token-of-some-length | install -D -m 600 /dev/stdin /etc/credstore/session-store.api-token; systemctl restart session-store'
until_inside 10 "$healthy"
inside "[ \"\$($through http://127.0.0.1:8080/sessions)\" = 401 ]" || fail "a proxy is let in without a token"
inside "[ \"\$($through -H 'Authorization: Bearer a-token-of-some-length' http://127.0.0.1:8080/sessions)\" = 200 ]" || fail "the credential is not the token"
inside "$post" token || fail "loopback is not exempt"
inside 'CREDENTIALS_DIRECTORY=/etc/credstore session-store --config /etc/session-store/config.toml health >/dev/null' || fail "a command cannot ask"
inside 'rm /etc/credstore/session-store.api-token; systemctl restart session-store'
until_inside 10 "$healthy"
inside "[ \"\$($through http://127.0.0.1:8080/sessions)\" = 200 ]" || fail "without a token it is not as before"
