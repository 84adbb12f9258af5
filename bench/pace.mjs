// pace.mjs RATE: copies stdin to stdout, RATE lines a second.
import fs from 'node:fs';
const rate = Number(process.argv[2] ?? 20);
const lines = fs.readFileSync(0, 'utf8').trim().split('\n');
const start = performance.now();
for (let i = 0; i < lines.length; i++) {
    const wait = start + (i * 1000) / rate - performance.now();
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
    process.stdout.write(lines[i] + '\n');
}
