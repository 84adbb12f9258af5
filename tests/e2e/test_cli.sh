#!/bin/bash
# tests/e2e/test_cli.sh - every command from outside: help, wrong usage, model verify and inspect, eval on a small file.
# $1: the program. SILLON_MODEL: another model than models/default.
set -u
program=$1
model=${SILLON_MODEL:-models/default}
. "$(dirname "$0")/check.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

says() { # what, status, pattern of stdout and stderr together, arguments...
    local what=$1 status=$2 pattern=$3 said
    shift 3
    said=$(timeout 300 "$program" "$@" 2>&1 </dev/null; echo "exit=$?")
    check "$what: exit" "${said##*exit=}" "$status"
    check "$what" "${said%exit=*}" "$pattern"
}

for command in forge train eval triage serve model bench; do
    says "$command --help" 0 "*sillon $command *" $command --help
    says "$command, no such option" 2 "*" $command --nonsense
done
says "--help" 0 "usage: sillon COMMAND*" --help
says "--version" 0 "sillon *" --version
says "no command" 2 "usage: sillon COMMAND*"
says "no such command" 2 "sillon: no command \"fly\"*" fly
says "eval without data" 2 "sillon eval: no --data*" eval
says "model without a verb" 2 "usage: sillon model*" model
says "bench --repeat 0" 2 "sillon bench: --repeat 0: *" bench --repeat 0
says "model verify of nothing" 1 "sillon model: *$work/none*" model verify "$work/none"
says "eval of a missing file" 1 "sillon eval: *$work/none*" eval --only-verdicts --data "$work/none"
said=$("$program" --help 2>&1 >/dev/full; echo "exit=$?")
check "--help to a full disk" "$said" "*stdout: *exit=1"

# --- eval of given verdicts: no model
cat >"$work/data.jsonl" <<'END'
{"id":"a","text":"un malaise à Bercy","urgency":"U3","class":"medical","source":"witness","place":{"station":"Bercy"},"twin":"b"}
{"id":"b","text":"un retard à Bercy","urgency":"U1","class":"traffic","source":"witness","place":{"station":"Bercy"},"twin":"a"}
{"id":"c","text":"publicité","urgency":"U0","class":"off_topic","source":"commentary"}
END
verdict() { # id, level, p of the level
    echo "{\"id\":\"$1\",\"urgency\":{\"level\":\"$2\",\"p\":{\"$2\":$3}},\"class\":{\"main\":\"medical\"},\"place\":{\"station\":\"Bercy\"}}"
}
{ verdict a U3 0.9; verdict b U1 0.8; } >"$work/v.ndjson"
says "eval of verdicts" 0 "3 messages, 1 twin pairs*accuracy U0-U4*0.667*twin pairs both right*1.000*" \
    eval --only-verdicts --data "$work/data.jsonl" --verdicts "$work/v.ndjson"
"$program" eval --json --only-verdicts --data "$work/data.jsonl" --verdicts "$work/v.ndjson" >"$work/scores"
check "eval --json" "$(cat "$work/scores")" '{"messages":3,"systems":\[{"name":*"accuracy":0.66667*"twin_pairs_right":1*"missing":1*'
verdict c U0 -1 >>"$work/v.ndjson"
says "a probability below 0" 1 "sillon eval: *v.ndjson*\"c\"*U0*-1*" \
    eval --only-verdicts --data "$work/data.jsonl" --verdicts "$work/v.ndjson"
{ verdict a U3 0.9; verdict b U1 1e300; } >"$work/v.ndjson"
says "a probability above 1" 1 "sillon eval: *v.ndjson*\"b\"*U1*1e+300*" \
    eval --only-verdicts --data "$work/data.jsonl" --verdicts "$work/v.ndjson"
echo nonsense >"$work/v.ndjson"
says "verdicts that are no JSON" 1 "sillon eval: *v.ndjson line 1*" \
    eval --only-verdicts --data "$work/data.jsonl" --verdicts "$work/v.ndjson"
says "no verdicts at all" 2 "sillon eval: *--verdicts*" eval --only-verdicts --data "$work/data.jsonl"
printf 'a\ttrain\nb\tdev\n' >"$work/split.tsv"
verdict b U1 1 >"$work/v.ndjson"
says "eval --split" 0 "1 messages, *" eval --only-verdicts --split dev --data "$work/data.jsonl" --verdicts "$work/v.ndjson"
says "eval --split of nothing" 1 "sillon eval: *no labelled message*" \
    eval --only-verdicts --split ood --data "$work/data.jsonl" --verdicts "$work/v.ndjson"
echo '{"id":"x"}' >>"$work/data.jsonl"
says "a bad record" 1 "sillon eval: *data.jsonl line 4*" eval --only-verdicts --data "$work/data.jsonl"
sed -i '$d' "$work/data.jsonl"

if [ ! -e "$model/model.safetensors" ]; then
    [ $n_failed -eq 0 ] || exit 1
    echo "skipped: no model at $model (make model)"
    exit 77
fi
says "model verify" 0 "$model: good, *sha256*" model verify "$model"
says "model inspect" 0 "name *parameters *kernels *" model inspect "$model"
"$program" model inspect --json "$model" >"$work/model.json"
check "model inspect --json: exit" $? 0
if command -v python3 >/dev/null; then
    check "model inspect --json parses" "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["parameters"] > 0)' "$work/model.json" 2>&1)" True
fi
says "eval of the model" 0 "3 messages, 1 twin pairs*model speed*" \
    eval --data "$work/data.jsonl" --model "$model" --out "$work/out.ndjson" --threads 1
check "eval --out" "$(wc -l <"$work/out.ndjson")" 3
says "its verdicts, read back" 0 "3 messages*" \
    eval --only-verdicts --data "$work/data.jsonl" --verdicts "$work/out.ndjson"
says "eval --fit-calibration" 0 "3 messages*" \
    eval --data "$work/data.jsonl" --model "$model" --fit-calibration "$work/calibration.json"
check "eval --fit-calibration writes" "$(cat "$work/calibration.json")" '{"temperature":*"bias":\[*\],*"messages":3}'
said=$("$program" eval --data "$work/data.jsonl" --model "$model" 2>&1 >/dev/full; echo "exit=$?")
check "eval to a full disk" "$said" "*stdout: *exit=1"
[ $n_failed -eq 0 ] || { echo "$n_failed failed"; exit 1; }
