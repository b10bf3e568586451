#!/bin/bash
# Stop the old container and run the new one, one host after the other, over SSH.
#
#   IMAGE=registry/app HOSTS="web-1 web-2" ./stop_and_run.sh TAG
#
# It knows nothing of the NodeBalancer, whose active check finds out by itself which host answers. So that never both
# hosts are out, it waits after each host for as long as that check needs (SETTLE).
set -euo pipefail
tag=$1

for host in $HOSTS; do
  echo "$host: $tag"
  ssh -F "$SSH_CONFIG" "$host" \
    "IMAGE=${IMAGE@Q} TAG=${tag@Q} HEALTH=${HEALTH@Q} GREETING=${GREETING@Q} WITHIN=${WITHIN@Q} bash -es" <<'REMOTE'
docker pull --quiet "$IMAGE:$TAG"
docker stop -t 40 app 2>/dev/null || true
docker rm app 2>/dev/null || true
docker run --detach --name app --restart unless-stopped --publish 8000:8000 \
  --env-file app.env --env APP_VERSION="$TAG" --env GREETING="$GREETING" "$IMAGE:$TAG"
for _ in $(seq "$WITHIN"); do
  if curl --fail --silent --max-time 2 --output /dev/null "http://127.0.0.1:8000$HEALTH"; then exit 0; fi
  sleep 1
done
echo "not healthy after $WITHIN s" >&2
docker logs --tail 20 app >&2
exit 1
REMOTE
  sleep "$SETTLE"
done
