#!/bin/bash
# The deploy.sh that a common tutorial on blue-green deployments on Linode ends with, its errors mended.
#
#   ./deploy.sh TAG         deploy TAG to the idle colour and give it the traffic
#   ./deploy.sh --rollback  give the traffic back to the other colour, which still runs what it ran
#
# What was mended:
# - `linode-cli nodebalancers configs nodes ...` is no command: the API is asked.
# - The idle colour is the one that the NodeBalancer says is out, not one that a file or a person remembers.
# - A node is raised and lowered by its mode; deleting and making it anew changed ids under Terraform.
# - The candidate is polled on its own address before it gets traffic, not after; an answer that is no 2xx is none.
# - The old colour is taken out only when the NodeBalancer itself says that the new one is UP.
# - The first deploy, with no container to stop, and a candidate that never gets well, end in order.
# - The token is in no command line.
set -euo pipefail

fact() { jq --raw-output --arg name "$1" '.[$name].value' outputs.json; } # as `terraform output -json` wrote it
nodes="$LINODE_URL/v4/nodebalancers/$(fact nodebalancer_id)/configs/$(fact config_id)/nodes"

api() { # METHOD URL [BODY]
  curl --fail --silent --show-error --max-time 20 --request "$1" ${3:+--data "$3"} --header 'Content-Type: application/json' \
    --header @<(printf 'Authorization: Bearer %s' "$LINODE_TOKEN") "$2"
}
node() { api GET "$nodes" | jq --raw-output --arg name "$1" --arg field "$2" '.data[] | select(.label == $name) | .[$field]'; }
set_mode() {
  local id
  id=$(node "$1" id)
  api PUT "$nodes/$id" "{\"mode\": \"$2\"}" >/dev/null
  echo "$1: $2"
}
healthy() { curl --fail --silent --max-time 2 --output /dev/null "http://$1:8000$HEALTH"; }
up() { [ "$(node "$1" status)" = UP ]; }
within() { # SECONDS COMMAND...: until it succeeds
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    if [ $SECONDS -ge $deadline ]; then return 1; fi
    sleep "$EVERY"
  done
}

live=$(fact blue) idle=$(fact green) address=$(fact green_address)
mode=$(node "$live" mode) # an assignment of its own: if the API does not answer, this ends here
if [ "$mode" != accept ]; then
  live=$(fact green) idle=$(fact blue) address=$(fact blue_address)
fi

if [ "$1" != --rollback ]; then
  set_mode "$idle" reject # a run that was interrupted may have left it in
  ssh -F "$SSH_CONFIG" "$idle" "docker pull --quiet '$IMAGE:$1'"
  ssh -F "$SSH_CONFIG" "$idle" "docker stop -t 40 app; docker rm app" 2>/dev/null || true
  ssh -F "$SSH_CONFIG" "$idle" "docker run --detach --name app --restart unless-stopped --publish 8000:8000 \
    --env-file app.env --env APP_VERSION='$1' --env GREETING='$GREETING' '$IMAGE:$1'"
fi
if ! within "$WITHIN" healthy "$address"; then
  echo "$idle did not get healthy in $WITHIN s: $live goes on serving" >&2
  exit 1
fi
set_mode "$idle" accept
if ! within 30 up "$idle"; then
  set_mode "$idle" reject
  echo "the NodeBalancer does not find $idle UP: $live goes on serving" >&2
  exit 1
fi
set_mode "$live" reject
echo "$idle serves; verify it through the public address. $live is idle."
