#!/usr/bin/env bash
# Fetch a Codex binary from npm, once, into a cache in the user's home; prints its path.
set -euo pipefail
version=${1:-0.131.0}
cache="${XDG_CACHE_HOME:-$HOME/.cache}/sansrelay/codex-$version"
binary="$cache/package/vendor/x86_64-unknown-linux-musl/codex/codex"
if [ ! -x "$binary" ]; then
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && npm pack --silent "@openai/codex@$version-linux-x64" > /dev/null)
  tar -xzf "$work"/*.tgz -C "$work"
  rm -rf "$cache/package"
  mv "$work/package" "$cache/package"
fi
echo "$binary"
