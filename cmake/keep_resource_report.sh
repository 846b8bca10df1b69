#!/usr/bin/env bash
# Runs a compiler (all arguments), and keeps what ptxas says of each kernel's registers, spills and local memory beside
# the object file, as OBJECT.resources. What is left of the compiler's messages goes on to the terminal.
set -uo pipefail
object=""
previous=""
for argument in "$@"; do
    [[ $previous == -o ]] && object=$argument
    previous=$argument
done
messages=$(mktemp)
trap 'rm -f "$messages"' EXIT
"$@" 2>"$messages"
status=$?
pattern='^ptxas info|^ *[0-9]+ bytes stack frame|^ptxas info *:'
[[ -n $object ]] && grep -E "$pattern" "$messages" >"$object.resources"
grep -vE "$pattern" "$messages" >&2
exit "$status"
