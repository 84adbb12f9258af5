// load.mjs URL RATE < messages.ndjson: posts each message by itself, RATE a second, and waits for every verdict on the stream.
// Prints p50, p95, max of the time from sending to the first verdict, and how many were lost.
import fs from 'node:fs';
const [url, rateText] = process.argv.slice(2);
const rate = Number(rateText ?? 20);
const messages = fs.readFileSync(0, 'utf8').trim().split('\n').map((l) => JSON.parse(l));
const sent = new Map(), latency = new Map();
let refused = 0;

const stream = await fetch(`${url}/v1/stream`);
(async () => {
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of stream.body) {
        text += decoder.decode(chunk, {stream: true});
        for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
            const event = text.slice(0, end);
            if (!event.includes('event: verdict')) continue;
            const data = event.split('\n').find((l) => l.startsWith('data: '));
            const verdict = JSON.parse(data.slice(6));
            if (sent.has(verdict.id) && !latency.has(verdict.id))
                latency.set(verdict.id, performance.now() - sent.get(verdict.id));
        }
    }
})().catch(() => {});

const start = performance.now();
const posts = [];
for (let i = 0; i < messages.length; i++) {
    const wait = start + (i * 1000) / rate - performance.now();
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
    sent.set(messages[i].id, performance.now());
    posts.push(fetch(`${url}/v1/messages`, {method: 'POST', headers: {'content-type': 'application/json'}, body: JSON.stringify(messages[i])})
        .then(async (r) => { if (!r.ok) refused++; await r.arrayBuffer(); }, () => refused++));
}
await Promise.all(posts);
const deadline = performance.now() + 60000;
while (latency.size < messages.length - refused && performance.now() < deadline) await new Promise((done) => setTimeout(done, 50));
const sorted = [...latency.values()].sort((a, b) => a - b);
const at = (q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]?.toFixed(1);
console.log(`messages=${messages.length} refused=${refused} lost=${messages.length - refused - latency.size} p50_ms=${at(0.5)} p95_ms=${at(0.95)} max_ms=${at(1)}`);
process.exit(latency.size === messages.length ? 0 : 1);
