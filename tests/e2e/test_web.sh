#!/bin/bash
# test_web.sh SILLON - the browser test of the screen: against the fake API, then against the real program when a model is there.
# 77 (skipped) with the reason when its tools are absent.
set -u
sillon=${1:-build/sillon}
cd "$(dirname "$0")/../.." || exit 1
skip() { echo "skipped: $1"; exit 77; }
command -v node >/dev/null 2>&1 || skip "node is not installed"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || skip "node $(node --version) is too old for playwright-core (18 is needed)"
[ -d web/node_modules/playwright-core ] || skip "playwright-core is not installed (npm ci in web/)"
CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
export CHROMIUM
[ -x "$CHROMIUM" ] || skip "no Chromium at $CHROMIUM"

while IFS=$'\t' read -r url file; do
    [ -f "web/$file" ] || { echo "web/assets.txt: $url: web/$file is missing"; exit 1; }
done <web/assets.txt
node --test tests/web/screen.test.mjs || exit 1

if [ ! -f models/default/model.safetensors ]; then
    echo "the real program was not tried: no models/default"
    exit 0
fi
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"' EXIT
"$sillon" serve --port 0 --data "$work/data" --replay data/exercise.ndjson --replay-speed 4 >"$work/out" 2>"$work/err" &
server=$!
for _ in $(seq 300); do grep -q 'http://' "$work/out" && break; sleep 0.1; done
url=$(grep -o 'http://[^ ]*' "$work/out" | head -n 1)
[ -n "$url" ] || { echo "the program did not start:"; cat "$work/err"; exit 1; }
SILLON_URL=${url%/} node --test tests/web/screen.test.mjs
