#!/bin/sh
# Makes the images that the Compose files name, on a machine that reaches no
# image registry. It needs Docker, Go, and, as root on Debian, debootstrap.
#
#   build.sh [--force] [--pull] [IMAGE...]
#   build.sh --consul-binary                 prints the path of a consul binary
#
# With no image named it makes all of them. An image that exists is kept, unless
# --force. --pull asks the registry first.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bg
base=bg-base:forky
label=bg.local-build=true
all='nginx:1.30 hashicorp/consul:1.22 redis:8'

say() { echo "images: $*" >&2; }
die() { say "$*"; exit 1; }
have() { docker image inspect "$1" >/dev/null 2>&1; }
need() { command -v "$1" >/dev/null || die "$1 is missing: $2"; }

# debian_mirror prints the mirror of Debian's main archive as apt itself reads
# it, so that both forms of its lists and their includes count.
debian_mirror() {
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-sid}")
	# shellcheck disable=SC2016 # apt replaces these variables, not the shell
	uri=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v code="$codename" '$3 == "main" && ($2 == code || $2 ~ /^(stable|testing|unstable|sid)$/) { print $1; exit }')
	case $uri in
	mirror+file:*) uri=$(awk '/^[a-z]+:/ { print $1; exit }' "${uri#mirror+file:}") ;;
	esac
	[ -n "$uri" ] || die 'apt has no main archive of Debian configured: see /etc/apt/sources.list.d'
	echo "$uri"
}

# need_debian says what a machine lacks on which the base cannot be made.
need_debian() {
	[ "$(. /etc/os-release 2>/dev/null && echo "${ID:-}")" = debian ] ||
		die 'this machine is not Debian: let Docker reach a registry, or load the images with docker load'
	[ "$(id -u)" = 0 ] || die 'debootstrap needs root: run this script with sudo'
	command -v debootstrap >/dev/null && return
	say 'installing debootstrap'
	{ apt-get update && apt-get install -y --no-install-recommends debootstrap; } >&2
}

# build_base imports a minimal Debian that has this machine's settings of apt:
# where the archive is, by which proxy, and whether its dates are believed.
build_base() {
	need_debian
	mirror=$(debian_mirror)
	root=$(mktemp -d)
	trap 'rm -rf "$root"' EXIT
	trap 'exit 130' INT TERM
	say "$base: debootstrap, about a minute"
	# sid's script serves every newer release; an older debootstrap has no own one.
	debootstrap --variant=minbase forky "$root" "$mirror" /usr/share/debootstrap/scripts/sid >"$root.log" 2>&1 ||
		die "debootstrap: see $root.log: $(tail -n 1 "$root.log")"
	rm -f "$root.log"
	echo "deb $mirror forky main" >"$root/etc/apt/sources.list"
	{
		apt-config dump | grep -E '^Acquire::(Check-|https?::Proxy)' || true
		# apt's caches would be more than half of each image.
		echo 'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";'
		echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };'
	} >"$root/etc/apt/apt.conf.d/90bg"
	printf 'path-exclude %s\n' '/usr/share/doc/*' '/usr/share/man/*' '/usr/share/locale/*' >"$root/etc/dpkg/dpkg.cfg.d/90bg"
	for dir in var/cache/apt var/lib/apt/lists usr/share/doc usr/share/man usr/share/locale; do
		find "$root/$dir" -type f -delete
	done
	tar -C "$root" --one-file-system --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -c . |
		docker import --change "LABEL $label" - "$base" >/dev/null
	rm -rf "$root"
	trap - EXIT INT TERM
}

# consul_binary prints the path of a static consul of the version that the tools
# module pins. Building takes minutes once, then Go's build cache has it.
consul_binary() {
	need go 'install Go'
	version=$(cd "$here/.." && go list -m -f '{{.Version}}' github.com/hashicorp/consul)
	binary=$cache/consul-$version-linux-$(go env GOARCH)
	if [ ! -x "$binary" ]; then
		say "consul $version: go build, minutes when its packages are not cached"
		mkdir -p "$cache"
		(cd "$here/.." && CGO_ENABLED=0 GOOS=linux go build -trimpath -ldflags='-s -w' -o "$binary.$$" github.com/hashicorp/consul) >&2
		mv "$binary.$$" "$binary"
	fi
	echo "$binary"
}

# build IMAGE FOLDER makes IMAGE of the folder's Dockerfile on the base.
build() {
	have "$base" || build_base
	say "$1: docker build"
	# Its output holds a warning on each build where buildx is missing.
	output=$(docker build ${force:+--no-cache} --label "$label" --tag "$1" "$2" 2>&1) || die "$output"
}

build_consul() {
	binary=$(consul_binary)
	context=$(mktemp -d)
	trap 'rm -rf "$context"' EXIT
	trap 'exit 130' INT TERM
	cp "$here"/consul/* "$context"
	cp "$binary" "$context/consul"
	build "$1" "$context"
	rm -rf "$context"
	trap - EXIT INT TERM
}

force='' pull=''
while [ $# -gt 0 ]; do
	case $1 in
	--consul-binary) consul_binary; exit ;;
	--force) force=yes ;;
	--pull) pull=yes ;;
	-*) die "$1 is unknown: see the head of $0" ;;
	*) break ;;
	esac
	shift
done

need docker 'install Docker (Debian: docker.io)'
docker version >/dev/null 2>&1 || die 'no Docker Engine answers: start it, or set DOCKER_HOST'
# shellcheck disable=SC2086 # a list of words
[ $# -gt 0 ] || set -- $all
for image; do
	if [ -z "$force" ] && have "$image"; then
		continue
	fi
	if [ -n "$pull" ] && docker pull --quiet "$image" >/dev/null 2>&1; then
		continue
	fi
	case $image in
	"$base") build_base ;;
	nginx:1.30) build "$image" "$here/nginx" ;;
	redis:8) build "$image" "$here/redis" ;;
	hashicorp/consul:1.22) build_consul "$image" ;;
	*) die "$image cannot be built here, only $all" ;;
	esac
	say "$image: done"
done
