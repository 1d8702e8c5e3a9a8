told="it has the least rights that do the job"
exposure=$(inside 'systemd-analyze security --no-pager session-store.service | sed -n "s/.*Overall exposure level for [^ ]* \([0-9.]*\) .*/\1/p"')
figure="exposure $exposure"
awk -v exposure="$exposure" 'BEGIN { exit !(exposure != "" && exposure <= 1.1) }' || fail "the exposure is $exposure"
