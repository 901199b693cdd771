#!/usr/bin/env bash
# Generates docs/ anew and fails if that changes a file: what is generated is never
# written by hand, and never old.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
cp -R docs/. "$before"
go generate ./...
if ! diff -r "$before" docs; then
	printf '\n%s\n' 'docs/ is not what the code says: see above. It is generated anew now; commit it.' >&2
	exit 1
fi
