#!/bin/sh
set -eu

[ "${1:-}" != consul ] || shift
if [ "${1:-}" = agent ]; then
	shift
	set -- agent -data-dir=/consul/data -config-dir=/consul/config "$@"
fi
exec consul "$@"
