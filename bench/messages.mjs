// messages.mjs N: N messages (id, text, channel) from the training seeds, as NDJSON; the same ones every time.
import fs from 'node:fs';
const n = Number(process.argv[2] ?? 1000);
const rows = fs.readdirSync('data/seeds').filter((f) => /^[aw].*\.jsonl$/.test(f)).sort()
    .flatMap((f) => fs.readFileSync(`data/seeds/${f}`, 'utf8').trim().split('\n').map((l) => JSON.parse(l)));
for (let i = 0; i < n; i++) {
    const r = rows[(i * 37) % rows.length]; // a stride: neighbours come from one writer
    console.log(JSON.stringify({id: `bench-${i}`, text: r.text, channel: r.channel}));
}
