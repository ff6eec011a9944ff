#!/usr/bin/env bash
# A deployment the way people write it today, with the tools that they have:
# docker-compose, curl, jq, consul-template, and a signal to nginx. It waits for
# what can be waited for by these means, and stops the old color at once.
#
#   pipeline.sh deploy | rollback
#
# in the service's folder, with SERVICE, PROJECT, CONSUL (host:port), NGINX (the
# container) and UPSTREAMS (the folder that it includes). After each part it
# prints when that was done.
set -euo pipefail

done_with() { echo "$1 $EPOCHREALTIME"; }

live=$(curl -fsS "http://$CONSUL/v1/kv/$SERVICE/color?raw" 2>/dev/null || echo none)
case $live in
  blue) next=green ;;
  *) next=blue ;;
esac
done_with color

case $1 in
  deploy) docker-compose -p "$PROJECT" up -d --no-deps --force-recreate "app-$next" 2>&1 ;;
  rollback) docker-compose -p "$PROJECT" start "app-$next" 2>&1 ;;
esac
done_with start

until
  address=$(curl -fsS "http://$CONSUL/v1/health/service/$SERVICE-$next?passing" |
    jq -r '.[0].Service | select(.) | "\(.Address):\(.Port)"')
  [ -n "$address" ]
do sleep 0.1; done
done_with register

until curl -fsS -o /dev/null "http://$address/ping"; do sleep 0.1; done
done_with test

consul-template -once -consul-addr "$CONSUL" -log-level err \
  -template "nginx-upstreams-$next.ctmpl:$UPSTREAMS/$SERVICE.conf"
docker kill -s HUP "$NGINX" >/dev/null
done_with switch

curl -fsS -o /dev/null -X PUT -d "$next" "http://$CONSUL/v1/kv/$SERVICE/color"
done_with commit

if [ "$live" != none ]; then
  docker-compose -p "$PROJECT" stop "app-$live" 2>&1
fi
done_with stop
