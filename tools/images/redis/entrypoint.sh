#!/bin/sh
set -eu

case ${1:-} in
-* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" != redis-server ]; then
	exec "$@"
fi
# A container's network is what protects it: protected mode would refuse all
# other containers. What the caller asks for wins.
case " $* " in
*' --protected-mode '*) ;;
*) set -- "$@" --protected-mode no ;;
esac
if [ "$(id -u)" != 0 ]; then
	exec "$@"
fi
chown redis:redis /data
exec setpriv --reuid=redis --regid=redis --clear-groups "$@"
