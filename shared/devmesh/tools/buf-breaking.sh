#!/usr/bin/env bash
# Compare the contract with the one on main: no change may break a client.
#
# The baseline is main; on main itself, where that would compare the contract
# with itself, it is the commit before. A checkout without any baseline (the
# first commit, an unpacked archive) is checked for being a contract at all.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
buf=$PWD/.tools/bin/buf

has_contract() { git cat-file -e "$1:proto" 2>/dev/null; }

same_contract() { git diff --quiet "$1" -- proto && [ -z "$(git ls-files --others --exclude-standard proto)" ]; }

baseline() {
    git rev-parse --is-inside-work-tree >/dev/null 2>&1 || return 1
    local ref
    for ref in main origin/main; do
        has_contract "$ref" || continue
        if same_contract "$ref" && has_contract "$ref~1"; then
            ref=$ref~1
        fi
        git rev-parse "$ref"
        return 0
    done
    return 1
}

if ! commit=$(baseline); then
    echo "buf breaking: there is no contract on main to compare with; checking that this one builds"
    exec "$buf" build --output /dev/null
fi

before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive "$commit" proto | tar -x -C "$before"
cp buf.yaml "$before"
"$buf" breaking --against "$before"
echo "buf breaking: nothing breaks against ${commit:0:12}"
