// trend.js - distress over time, by line: curves (uPlot) and beside them the same in figures, which is the legend and
// what a screen reader reads. Level colours are not used here: a colour means a level, or nothing.
// uPlot is a classic script (window.uPlot); without it the figures remain.
import { byId, el, setText } from "./dom.js";
import { clockTime, number, t } from "./i18n.js";

const TOP = 5;
const POLL_MS = 10000;
const HOURS = 2;
const WINDOW = 5; // minutes each point gathers: one message must not draw a peak as high as ten
const STYLES = { // colour and dash, one pair a rank
  dark: ["#f2f5f8", "#5ee0cf", "#d0b3ff", "#ff9fcb", "#c5e06b"],
  light: ["#15202b", "#00695c", "#5b2fb0", "#a01368", "#4d6100"],
};
const DASHES = [[], [9, 4], [3, 3], [12, 4, 3, 4], [1, 5]];

export class Trend {
  constructor() {
    this.chart = null;
    this.signature = "";
    this.stats = null;
    this.failed = false;
    new ResizeObserver(() => this.resize()).observe(byId("trend-chart"));
  }
  async run() {
    for (;;) {
      await this.poll();
      await new Promise((resolve) => setTimeout(resolve, document.hidden ? 3 * POLL_MS : POLL_MS));
    }
  }
  async poll() {
    try {
      const response = await fetch(`/v1/stats?hours=${HOURS}&lines=16`, { cache: "no-store", signal: AbortSignal.timeout(8000) });
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      this.stats = await response.json();
      this.failed = false;
    } catch {
      this.failed = true; // said under the title; the last curves stay
    }
    this.render();
  }

  // The lines with the most distress in the window, then the most urgent messages, then by name so that ties are stable.
  top() {
    const minutes = this.stats?.minutes ?? [];
    const sum = (list) => (list ?? []).reduce((total, x) => total + (x ?? 0), 0);
    return (this.stats?.lines ?? []).filter((series) => series.line !== "" && series.line !== "*").map((series) => {
      const perMinute = minutes.map((_, i) => (series.distress?.[i] ?? 0) * (series.n?.[i] ?? 0)); // mean x messages
      const distress = perMinute.map((_, i) => sum(perMinute.slice(Math.max(0, i + 1 - WINDOW), i + 1)));
      return { name: series.line, distress, distressSum: sum(perMinute), urgent: sum(series.urgency), count: sum(series.n) };
    }).sort((a, b) => b.distressSum - a.distressSum || b.urgent - a.urgent || a.name.localeCompare(b.name)).slice(0, TOP);
  }

  render() {
    const lines = this.top(), minutes = this.stats?.minutes ?? [];
    const uPlotHere = typeof window.uPlot === "function";
    const span = minutes.length > 1 ? Math.round((minutes[minutes.length - 1] - minutes[0]) / 60) + 1 : minutes.length;
    const note = this.failed ? t("trend.lost") : lines.length === 0 ? t("trend.none")
      : `${t("trend.unit", { w: WINDOW })}, ${t("trend.window", { n: number(span) })}${uPlotHere ? "" : `. ${t("trend.nochart")}`}`;
    setText(byId("trend-note"), note);
    byId("trend-note").classList.toggle("warn", this.failed);
    this.renderTable(lines);
    if (uPlotHere) this.renderChart(minutes, lines);
  }
  renderTable(lines) {
    const theme = document.documentElement.dataset.theme;
    const rows = lines.map((line, i) => {
      const swatch = el("canvas", { width: 44, height: 12, class: "swatch", "aria-hidden": "true" });
      const pen = swatch.getContext("2d");
      pen.strokeStyle = STYLES[theme][i];
      pen.lineWidth = 3;
      pen.setLineDash(DASHES[i]);
      pen.beginPath();
      pen.moveTo(0, 6);
      pen.lineTo(44, 6);
      pen.stroke();
      return el("tr", {}, el("th", { scope: "row" }, swatch, el("span", { class: "line" }, line.name)),
        el("td", {}, number(line.distressSum)), el("td", {}, number(line.urgent, 1)), el("td", {}, number(line.count)));
    });
    byId("trend-table").replaceChildren(
      el("thead", {}, el("tr", {}, ...["line", "distress", "urgent", "count"].map((key) => el("th", { scope: "col" }, t(`trend.${key}`))))),
      el("tbody", {}, ...rows));
  }
  renderChart(minutes, lines) {
    const root = byId("trend-chart");
    const signature = [document.documentElement.dataset.theme, document.documentElement.lang, ...lines.map((line) => line.name)].join("|");
    const data = [minutes, ...lines.map((line) => line.distress)];
    if (lines.length === 0 || minutes.length < 2) {
      this.chart?.destroy();
      this.chart = null;
      this.signature = "";
    } else if (signature === this.signature) {
      this.chart.setData(data);
    } else {
      this.chart?.destroy();
      this.signature = signature;
      this.chart = new window.uPlot(this.options(root, lines), data, root);
    }
  }
  options(root, lines) {
    const theme = document.documentElement.dataset.theme;
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--muted").trim(), rule = style.getPropertyValue("--rule").trim();
    const font = "14px " + style.getPropertyValue("--font").trim();
    const axis = { stroke: ink, font, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1, size: 4 } };
    return {
      width: root.clientWidth, height: root.clientHeight,
      padding: [10, 84, 0, 0],
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, min, max) => [0, Math.max(4, max * 1.1)] } },
      axes: [
        { ...axis, space: 90, size: 28, values: (_, ticks) => ticks.map((s) => clockTime(s * 1000).slice(0, 5)) },
        { ...axis, size: 44, space: 36, values: (_, ticks) => ticks.map((v) => Number.isInteger(v) ? number(v) : "") },
      ],
      series: [{}, ...lines.map((line, i) => ({ label: line.name, stroke: STYLES[theme][i], width: 2.5, dash: DASHES[i], points: { show: false } }))],
      hooks: { draw: [(chart) => drawNames(chart, lines, STYLES[theme])] },
    };
  }
  resize() {
    const root = byId("trend-chart");
    if (this.chart !== null && root.clientWidth > 0) this.chart.setSize({ width: root.clientWidth, height: root.clientHeight });
  }
}

// The line's name at the end of its curve, pushed apart where curves end close together.
function drawNames(chart, lines, colours) {
  const ratio = devicePixelRatio || 1, pen = chart.ctx, step = 17 * ratio;
  const last = chart.data[0].length - 1;
  const labels = lines.map((line, i) => ({ text: line.name, colour: colours[i], y: chart.valToPos(chart.data[i + 1][last] ?? 0, "y", true) }))
    .sort((a, b) => b.y - a.y);
  let ceiling = chart.bbox.top + chart.bbox.height;
  for (const label of labels) {
    label.y = Math.min(label.y, ceiling);
    ceiling = label.y - step;
  }
  pen.save();
  pen.font = `bold ${14 * ratio}px sans-serif`;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  for (const label of labels) {
    pen.fillStyle = label.colour;
    pen.fillText(label.text, chart.bbox.left + chart.bbox.width + 8 * ratio, label.y, 76 * ratio);
  }
  pen.restore();
}
