// sound.js - a sound for a new U4 and another for a new U3, made here (no file). Off until a person turns it on at
// this desk: a room with six desks must not ring six times. Browsers allow sound only after a key or a click, so a
// page that was reloaded with the sound on says "blocked" until then.
import { keep, kept } from "./dom.js";

// [frequency in Hz, start in s, length in s]. U4: three rising pairs; U3: two falling notes, softer.
const TUNES = {
  U4: { gain: 0.35, notes: [0, 0.5, 1].flatMap((at) => [[784, at, 0.16], [1175, at + 0.18, 0.24]]) },
  U3: { gain: 0.18, notes: [[659, 0, 0.18], [523, 0.2, 0.26]] },
};
const GAP_MS = 2500; // at most one tune in this time

export class Sound {
  constructor(changed) {
    this.changed = changed; // called when state() may have changed
    this.on = kept("sound") === "on";
    this.context = null;
    this.lastMs = -Infinity;
    this.played = 0; // read by the browser test
    if (this.on) this.open();
    const wake = () => { if (this.on) this.open(); };
    addEventListener("pointerdown", wake);
    addEventListener("keydown", wake);
  }
  state() {
    if (typeof AudioContext === "undefined") return "absent";
    if (!this.on) return "off";
    return this.context?.state === "running" ? "on" : "blocked";
  }
  open() {
    if (typeof AudioContext === "undefined") return;
    if (this.context === null) {
      this.context = new AudioContext();
      this.context.onstatechange = () => this.changed();
    }
    if (this.context.state === "suspended") this.context.resume().catch(() => {});
  }
  toggle() {
    this.on = !this.on;
    keep("sound", this.on ? "on" : "off");
    if (this.on) { this.open(); this.play("U3", true); }
    this.changed();
  }
  // The test plays whatever the switch says, so that a desk can be checked before the shift.
  test() {
    this.open();
    this.play("U4", true);
  }
  play(level, force = false) {
    if ((!this.on && !force) || this.context === null || TUNES[level] === undefined) return;
    const nowMs = performance.now();
    if (!force && nowMs - this.lastMs < GAP_MS) return;
    this.lastMs = nowMs;
    this.played++;
    const begin = this.context.currentTime + 0.02;
    for (const [hertz, at, length] of TUNES[level].notes) {
      const tone = this.context.createOscillator(), gain = this.context.createGain();
      tone.type = "triangle";
      tone.frequency.value = hertz;
      gain.gain.setValueAtTime(0, begin + at); // ramps: no click in a headset
      gain.gain.linearRampToValueAtTime(TUNES[level].gain, begin + at + 0.015);
      gain.gain.setValueAtTime(TUNES[level].gain, begin + at + length - 0.04);
      gain.gain.linearRampToValueAtTime(0, begin + at + length);
      tone.connect(gain).connect(this.context.destination);
      tone.start(begin + at);
      tone.stop(begin + at + length + 0.02);
    }
  }
}
