#!/usr/bin/env bash
# Fetch Codex binaries from npm, each once, into a cache in the user's home; prints a path for each.
# Versions are the arguments; without any, all that the tests use. Exit status 75: npm's registry
# can't be reached, and a binary is missing. Anything else that is not 0 is a fault to look into.
set -euo pipefail
[ $# -gt 0 ] || set -- 0.131.0 0.133.0 0.136.0
unreachable='ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ERR_SOCKET_TIMEOUT'
caches="${XDG_CACHE_HOME:-$HOME/.cache}/sansrelay"

fetch() {
  local version=$1 cache=$2 work binary
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  if ! (cd "$work" && npm pack "@openai/codex@$version-linux-x64" > npm.out 2> npm.err); then
    cat "$work/npm.err" >&2
    if grep -Eq "npm (error|ERR!) code ($unreachable)" "$work/npm.err"; then
      echo "NO CODEX $version: npm's registry can't be reached" >&2
      exit 75
    fi
    exit 1
  fi
  tar -xzf "$work"/*.tgz -C "$work"
  rm -rf "$cache/package"
  mv "$work/package" "$cache/package"
  # Where it lies in the package differs between versions.
  binary=$(cd "$cache" && find package/vendor -path '*/codex' -type f -perm -u+x)
  ln -sfn "$binary" "$cache/codex"
  rm -rf "$work"
  trap - EXIT
}

for version in "$@"; do
  cache="$caches/codex-$version"
  [ -x "$cache/codex" ] || fetch "$version" "$cache"
  echo "$cache/codex"
done
