// E-values over time, on a log scale, each as a part of its own limit: 1 is where it rolls back.

import uPlot from "../uplot/uPlot.esm.js";
import { h } from "./dom.js";
import { TOGETHER, title } from "./words.js";

const COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4]];
const LOWEST = -4; // decades below the limit
const HEIGHT = 260;
const made = new Map(); // rollout -> {plot, gates, theme}

/** A place that keeps its chart through renderings of the page. */
export function chart(name, columns, label) {
  queueMicrotask(() => draw(name, columns));
  return h("div", { class: "chart", "data-keep": true, "data-key": `chart-${name}`, "data-chart": name, role: "img", "aria-label": label });
}

function draw(name, columns) {
  const place = document.querySelector(`[data-chart="${CSS.escape(name)}"]`);
  if (!place || !place.clientWidth) return;
  const gates = Object.keys(columns.gates).sort((one, other) => (other === TOGETHER) - (one === TOGETHER) || one.localeCompare(other));
  const data = [columns.at, ...gates.map((gate) => columns.gates[gate].harm.map((value) => decades(value, columns.gates[gate].limit)))];
  const key = `${gates.join()} ${document.documentElement.dataset.theme || ""} ${matchMedia("(prefers-color-scheme: dark)").matches}`;
  const known = made.get(name);
  if (known && known.key === key && place.contains(known.plot.root)) {
    known.columns.now = columns;
    if (known.plot.width !== place.clientWidth) known.plot.setSize({ width: place.clientWidth, height: HEIGHT });
    known.plot.setData(data);
    return;
  }
  known?.plot.destroy();
  const held = { now: columns };
  made.set(name, { key, columns: held, plot: new uPlot(options(gates, place.clientWidth, held), data, place) });
}

function decades(logE, limit) {
  return logE === null || logE === undefined ? null : Math.max(LOWEST, (logE - limit) / Math.LN10);
}

function options(gates, width, held) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const ink = colour("--muted");
  const grid = { stroke: colour("--rule"), width: 1 };
  const font = "12px system-ui, sans-serif";
  return {
    width, height: HEIGHT,
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(-2, Math.floor(low ?? -2)), Math.max(0.4, (high ?? 0) + 0.2)] } },
    axes: [
      { stroke: ink, grid, ticks: grid, font },
      { stroke: ink, grid, ticks: grid, font, size: 74, incrs: [1, 2, 4], values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "limit" : `${10 ** tick} ×`)) },
    ],
    series: [
      { label: "time", value: (_, at) => (at === null ? "–" : new Date(at * 1000).toLocaleTimeString()) },
      ...gates.map((gate, index) => ({
        label: title(gate), stroke: colour(gate === TOGETHER ? "--ink" : COLOURS[index % COLOURS.length]), width: gate === TOGETHER ? 2.4 : 1.6,
        dash: gate === TOGETHER ? [] : DASHES[index % DASHES.length], points: { show: false },
        value: (_, decade) => (decade === null ? "–" : `${Number((10 ** decade).toPrecision(2))} × limit`),
      })),
    ],
    hooks: { draw: [(plot) => marks(plot, held.now, colour)] },
  };
}

function marks(plot, columns, colour) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.strokeStyle = colour("--bad");
  const limit = plot.valToPos(0, "y", true);
  line(ctx, bbox.left, limit, bbox.left + bbox.width, limit);
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.strokeStyle = ctx.fillStyle = colour("--muted");
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  for (const mark of columns.marks) {
    const x = Math.max(bbox.left, plot.valToPos(mark.at, "x", true));
    if (x > bbox.left + bbox.width) continue;
    line(ctx, x, bbox.top, x, bbox.top + bbox.height);
    const word = { progressing: mark.phase, rolled_back: "rolled back", completed: "completed" }[mark.status] || `${mark.status.replace("_", " ")}`;
    ctx.fillText(word, x + 4 * devicePixelRatio, bbox.top + 12 * devicePixelRatio);
  }
  ctx.restore();
}

function line(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}
