#!/bin/sh
# An edge agent's habit under load, inside the container: opens sessions and posts frames for as long as $1 exists. An open is sent once.
# What was acknowledged goes to $2, what failed to $3.
name=$4
mkdir -p /root/agents
: >"/root/agents/$name"
trap 'rm "/root/agents/$name"' EXIT
count=0
while [ -e "$1" ]; do
  count=$((count + 1))
  id="load-$name-$count"
  body="{\"sessionId\":\"$id\",\"devId\":\"$name\",\"startTs\":\"2025-10-11T12:00:00Z\"}"
  code=$(curl -s -o /dev/null -m 20 -w '%{http_code}' -H 'Content-Type: application/json' -d "$body" http://127.0.0.1:8080/sessions/open)
  if [ "$code" != 201 ]; then
    echo "open $id: $code" >>"$3"
    continue
  fi
  meta="{\"sessionId\":\"$id\",\"captureTs\":\"2025-10-11T12:00:02Z\",\"detections\":[{\"trackId\":\"1\",\"cls\":\"person\",\"conf\":0.5,\"bbox\":{\"x\":0.1,\"y\":0.1,\"w\":0.1,\"h\":0.1}}]}"
  code=$(curl -s -o /dev/null -m 20 -w '%{http_code}' -F "meta=$meta" -F "frame=@/root/frame.jpg;type=image/jpeg" http://127.0.0.1:8080/ingest)
  if [ "$code" != 200 ]; then
    echo "ingest $id: $code" >>"$3"
    continue
  fi
  echo "$id" >>"$2"
done
