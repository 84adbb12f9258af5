#!/bin/sh
# test_web.sh SILLON - the browser test of the screen; 77 (skipped) with the reason when its tools are absent.
# Also checks that every file named by web/assets.txt is there to be embedded.
set -u
cd "$(dirname "$0")/../.." || exit 1
skip() { echo "skipped: $1"; exit 77; }
command -v node >/dev/null 2>&1 || skip "node is not installed"
[ -d web/node_modules/playwright-core ] || skip "playwright-core is not installed (npm ci in web/)"
CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
export CHROMIUM
[ -x "$CHROMIUM" ] || skip "no Chromium at $CHROMIUM"

tab=$(printf '\t')
while IFS="$tab" read -r url file; do
    [ -f "web/$file" ] || { echo "web/assets.txt: $url: web/$file is missing"; exit 1; }
done <web/assets.txt
exec node --test tests/web/screen.test.mjs
