// E-values over time, on a log scale, each as a part of its own limit: 1 is where it rolls back.

import uPlot from "../uplot/uPlot.esm.js";
import { h } from "./dom.js";
import { TOGETHER, title } from "./words.js";

const COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4]];
const LOWEST = -4; // decades below the limit
const HIGHEST = 1; // decades above it: what is far beyond is at the top
const HEIGHT = 260;
const made = new Map(); // rollout -> {plot, gates, theme}

/** A place that keeps its chart through renderings of the page. */
export function chart(name, columns, label) {
  queueMicrotask(() => draw(name, columns));
  return h("div", { class: "chart", "data-keep": true, "data-key": `chart-${name}`, "data-chart": name, role: "img", "aria-label": label });
}

const TAIL = 20; // points without any value that are still shown at the end

/** Columns of the history, with the points that the Journal's decisions kept; and without a long end of nothing. */
export function withDecisions(columns, entries) {
  if (!columns) return null;
  const points = columns.at.map((at, index) => ({ at, index }));
  const known = new Set();
  for (const entry of entries) {
    const found = (entry.numbers.findings || []).filter((one) => one.log_e_limit);
    if (found.length) points.push({ at: entry.at, harm: new Map(found.map((one) => [one.gate, one.log_e_harm])) });
    for (const one of found) known.add(one);
  }
  points.sort((one, other) => one.at - other.at);
  const gates = Object.fromEntries(Object.entries(columns.gates).map(([gate, one]) => [gate, { limit: one.limit, harm: [] }]));
  for (const one of known) gates[one.gate] ||= { limit: one.log_e_limit, harm: [] };
  let last = 0;
  points.forEach((point, index) => {
    for (const [gate, one] of Object.entries(gates)) {
      const value = point.harm ? point.harm.get(gate) : columns.gates[gate]?.harm[point.index];
      one.harm.push(value ?? null);
      if (value !== undefined && value !== null) last = index;
    }
  });
  const length = Math.min(points.length, last + 1 + TAIL);
  for (const one of Object.values(gates)) one.harm.length = length;
  return { at: points.slice(0, length).map((point) => point.at), gates, marks: columns.marks };
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
    if (known.plot.cursor.left < 0) known.plot.setLegend({ idx: columns.at.length - 1 });
    return;
  }
  known?.plot.destroy();
  const held = { now: columns };
  const plot = new uPlot(options(gates, place.clientWidth, held), data, place);
  plot.setLegend({ idx: columns.at.length - 1 });
  made.set(name, { key, columns: held, plot });
}

function decades(logE, limit) {
  return logE === null || logE === undefined ? null : Math.min(HIGHEST, Math.max(LOWEST, (logE - limit) / Math.LN10));
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
    if (x > bbox.left + bbox.width || mark.status === "pending") continue;
    line(ctx, x, bbox.top, x, bbox.top + bbox.height);
    const word = { progressing: mark.phase, rolled_back: "rolled back", completed: "completed" }[mark.status] || `${mark.status.replace("_", " ")}`;
    const fits = x + ctx.measureText(word).width + 8 * devicePixelRatio < bbox.left + bbox.width;
    ctx.textAlign = fits ? "left" : "right";
    ctx.fillText(word, x + (fits ? 4 : -4) * devicePixelRatio, bbox.top + bbox.height - 6 * devicePixelRatio);
  }
  ctx.restore();
}

function line(ctx, x1, y1, x2, y2) {
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
}
