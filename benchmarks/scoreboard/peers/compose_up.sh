#!/bin/bash
# `docker-compose up -d` on one host after the other.
#
#   IMAGE=registry/app HOSTS="web-1 web-2" ./compose_up.sh TAG
#
# It knows nothing of the NodeBalancer; after each host it waits for as long as that one's check needs (SETTLE).
set -euo pipefail
tag=$1

for host in $HOSTS; do
  echo "$host: $tag"
  ssh -F "$SSH_CONFIG" "$host" 'cat > compose.yaml' < compose.yaml
  ssh -F "$SSH_CONFIG" "$host" 'cat > .env' <<ENV
IMAGE=$IMAGE
TAG=$tag
GREETING=$GREETING
ENV
  ssh -F "$SSH_CONFIG" "$host" "HEALTH=${HEALTH@Q} WITHIN=${WITHIN@Q} bash -es" <<'REMOTE'
docker-compose --file compose.yaml --project-name app pull --quiet </dev/null
docker-compose --file compose.yaml --project-name app up --detach </dev/null
for _ in $(seq "$WITHIN"); do
  if curl --fail --silent --max-time 2 --output /dev/null "http://127.0.0.1:8000$HEALTH"; then exit 0; fi
  sleep 1
done
echo "not healthy after $WITHIN s" >&2
docker-compose --file compose.yaml --project-name app logs --tail 20 </dev/null >&2
exit 1
REMOTE
  sleep "$SETTLE"
done
