#!/bin/bash
# test_identity.sh SILLON [N] - a message's verdict is the same bits whatever is judged with it, in whatever order, on however many
# threads: N messages (default 60) one at a time on one thread against shuffled batches of 64 on two, in f32 and in int8.
set -u
sillon=${1:-build/sillon}
n=${2:-60}
cd "$(dirname "$0")/../.." || exit 1
skip() { echo "skipped: $1"; exit 77; }
[ -f models/default/model.safetensors ] || skip "no models/default"
command -v node >/dev/null 2>&1 || skip "node is not installed (it writes the messages)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
node bench/messages.mjs "$n" >"$work/messages.ndjson"
shuf --random-source=<(yes 20261123) "$work/messages.ndjson" >"$work/shuffled.ndjson"
# Times differ; nothing else may.
judge() { # WEIGHTS BATCH THREADS FILE
    "$sillon" triage --weights "$1" --batch "$2" --threads "$3" --trace always <"$work/$4.ndjson" 2>"$work/err" |
        sed 's/,"timing_ms":{[^}]*}//' | sort
}
for weights in f32 int8; do
    judge $weights 1 1 messages >"$work/alone" || { cat "$work/err"; exit 1; }
    judge $weights 64 2 shuffled >"$work/together" || { cat "$work/err"; exit 1; }
    [ "$(wc -l <"$work/alone")" = "$n" ] || { echo "$weights: $(wc -l <"$work/alone") verdicts for $n messages"; exit 1; }
    differences=$(comm -3 "$work/alone" "$work/together" | wc -l)
    echo "$weights: $n messages, $differences lines differ"
    [ "$differences" = 0 ] || { comm -3 "$work/alone" "$work/together" | head -n 4; exit 1; }
done
