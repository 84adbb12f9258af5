#!/bin/bash
# tests/e2e/test_serve.sh - `sillon serve` from outside: bad starts, 1,000 messages, kill -9 between the acknowledgement
# and the verdict, a clean stop. $1: the program. SILLON_MODEL: another model than models/default.
set -u
program=$1
model=${SILLON_MODEL:-models/default}
. "$(dirname "$0")/check.sh"
work=$(mktemp -d)
server=

server_stop() { # signal
    [ -n "$server" ] || return 0
    kill "-$1" "$server" 2>/dev/null
    { wait "$server"; } 2>/dev/null # without the shell's "Killed"
    local status=$?
    server=
    return $status
}
trap 'server_stop KILL 2>/dev/null; rm -rf "$work"' EXIT

# --- starts that must fail: one clear line, exit 1 or 2
fails() { # what, status, pattern, options...
    local what=$1 status=$2 pattern=$3
    shift 3
    local said
    said=$("$program" serve "$@" 2>&1 >/dev/null | tail -1; exit "${PIPESTATUS[0]}")
    check "$what: exit" $? "$status"
    check "$what" "$said" "$pattern"
}
fails "no such option" 2 "sillon serve: unknown option*" --data "$work/d0" --nonsense
fails "port out of range" 2 "sillon serve: --port 70000: *" --port 70000
fails "bad trace mode" 2 "sillon serve: --trace maybe: *" --trace maybe
fails "data in a file" 1 "sillon serve: /dev/null*" --data /dev/null/x --model "$model"
fails "missing model" 1 "sillon serve: *$work/none*" --data "$work/d0" --port 0 --model "$work/none"
mkdir "$work/empty"
fails "a folder that is no model" 1 "sillon serve: *$work/empty*" --data "$work/d0" --port 0 --model "$work/empty"
"$program" serve --help | grep -q '^usage: sillon serve'
check "--help" $? 0

if [ ! -e "$model/model.safetensors" ] && [ ! -e "$model/model.safetensors.index.json" ]; then
    [ $n_failed -eq 0 ] || exit 1
    echo "skipped: no model at $model (make model)"
    exit 77
fi

server_start() { # options...
    : >"$work/address"
    "$program" serve --port 0 --data "$work/data" --model "$model" "$@" >"$work/address" 2>>"$work/log" &
    server=$!
    for _ in $(seq 600); do
        [ -s "$work/address" ] && break
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    url=$(head -1 "$work/address")
    if [ -z "$url" ]; then
        echo "FAILED  the server did not start:"
        tail -5 "$work/log"
        exit 1
    fi
}
get() { curl -sS --max-time 90 "$url$1"; }
count() { get /metrics | sed -n "s/^$1 //p"; }

server_start
fails "port in use" 1 "sillon serve: http://127.0.0.1:*Address already in use*" \
    --data "$work/other" --model "$model" --port "${url##*:}"
fails "data in use" 1 "sillon serve: *in use by another sillon*" --data "$work/data" --model "$model" --port 0
check "the screen" "$(get / | head -1)" "<!doctype html>*"
check "healthz" "$(get /healthz)" '{"status":"ok",*'
check "one message" "$(curl -sS --max-time 60 "$url/v1/messages?wait=30" -d '{"id":"one","text":"Un homme est tombé sur les voies à Nation, ligne 1 !"}')" \
    '{"accepted":1,"ids":\["one"\],"rejected":\[\],"verdicts":\[{"id":"one","urgency":{"level":"U[0-4]"*'
check "chat" "$(curl -sS --max-time 60 "$url/v1/chat/completions" -d '{"messages":[{"role":"user","content":"Bonjour"}],"max_tokens":8,"temperature":0}')" \
    '{"id":"chatcmpl-*"object":"chat.completion"*"completion_tokens":*'
check "chat stream" "$(curl -sS --max-time 60 "$url/v1/chat/completions" -d '{"messages":[{"role":"user","content":"Bonjour"}],"max_tokens":8,"stream":true}' | tail -2 | head -1)" \
    'data: \[DONE\]'

# --- 1,000 messages in twenty requests: none lost
for request in $(seq 20); do
    for i in $(seq 50); do
        echo "{\"id\":\"m$request-$i\",\"text\":\"Le train de $request h $i est en retard, encore bloqués entre deux gares\"}"
    done >"$work/body"
    answer=$(curl -sS --max-time 60 "$url/v1/messages" -H 'Content-Type: application/x-ndjson' --data-binary "@$work/body")
    [[ $answer == '{"accepted":50,'* ]] || check "request $request" "$answer" '{"accepted":50,*'
done
for _ in $(seq 1200); do
    [ "$(count sillon_queue_depth)" = 0 ] && break
    sleep 0.1
done
check "1,000 messages judged" "$(count sillon_receipt_to_verdict_seconds_count)" 1001

# --- kill -9 with acknowledged messages that have no verdict
for i in $(seq 400); do echo "{\"id\":\"k$i\",\"text\":\"message $i juste avant la panne\"}"; done >"$work/body"
answer=$(curl -sS --max-time 60 "$url/v1/messages" --data-binary "@$work/body")
server_stop KILL
check "acknowledged before kill -9" "$answer" '{"accepted":400,*'
server_start
echo "        after kill -9: $(grep -c . "$work/body") acknowledged, $(tail -1 "$work/log" | grep -o 'messages=.*')"
for _ in $(seq 1200); do
    [ "$(count sillon_queue_depth)" = 0 ] && break
    sleep 0.1
done
n_judged=0
for i in $(seq 400); do get "/v1/messages/k$i"; echo; done >"$work/found"
n_judged=$(grep -c '"urgency":{"level":"U' "$work/found")
check "all of them found and judged" "$n_judged" 400
check "sent again, accepted without a second row" \
    "$(curl -sS --max-time 60 "$url/v1/messages" --data-binary "@$work/body")" '{"accepted":400,*'

# --- streams, then a clean stop while one is open
: >"$work/stream"
curl -sSN --max-time 20 -H 'Last-Event-ID: 0' "$url/v1/stream" >"$work/stream" 2>/dev/null &
reader=$!
for _ in $(seq 100); do
    grep -q '^event: status' "$work/stream" && break
    sleep 0.1
done
check "stream: verdicts" "$(grep -m1 '^data: {"id"' "$work/stream")" 'data: {"id":"*"urgency":{"level":"U*"seq":*'
check "stream: status" "$(grep -m1 '^data: {"time"' "$work/stream")" '*"worker":"ok","store":"ok","queue_depth":*'
server_stop TERM
check "SIGTERM: exit" $? 0
wait $reader
[ -e "$work/data/sillon.db-wal" ] && [ -s "$work/data/sillon.db-wal" ]
check "the database is closed (no log left)" $? 1
check "the key is private" "$(stat -c %a "$work/data/author.key")" 600

# --- an exercise is played and marked
printf '%s\n' '{"t":0,"id":"e1","text":"Exercice : fumée dans le couloir"}' '{"t":1,"id":"e2","text":"bonjour"}' >"$work/day"
server_start --replay "$work/day" --replay-speed 10
check "no second row after all" "$(grep 'serve: data=' "$work/log" | tail -1 | grep -o 'messages=.*')" 'messages=1401 unjudged=0'
for _ in $(seq 100); do
    [ "$(get '/v1/verdicts?limit=1000' | grep -o '"exercise":true' | wc -l)" -ge 2 ] && break
    sleep 0.1
done
# Traces of the messages before may still come, so the replay's verdicts need not be the newest.
check "replay" "$(get '/v1/verdicts?limit=1000' | grep -o '"exercise":true' | wc -l)" '[2-4]'
server_stop INT
check "SIGINT: exit" $? 0
[ $n_failed -eq 0 ] || { echo "--- log"; tail -20 "$work/log"; exit 1; }
echo "passed"
