// E-values over time, on a log scale, each as a part of its own limit: where harm comes to 1 it rolls back, where safety does it may go on.

import uPlot from "../uplot/uPlot.esm.js";
import { h } from "./dom.js";
import { clock } from "./format.js";
import { SAFE_LIMIT, TOGETHER, title } from "./words.js";

const COLOURS = ["--line-1", "--line-2", "--line-3", "--line-4", "--line-5", "--line-6"];
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4]];
const LOWEST = -4; // decades below the limit
const HIGHEST = 1; // decades above it: what is far beyond is at the top
const HEIGHT = 260;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800]; // seconds between ticks
const made = new Map(); // rollout -> {plot, gates, theme}
const ranges = new Map(); // rollout -> [low, high] that was drawn, or the last so many seconds; nothing: all of it

/** Show the last so many seconds; 0: all of it. */
export function within(name, seconds) {
  if (seconds) ranges.set(name, seconds);
  else ranges.delete(name);
}

/** The seconds that were chosen; null where a part was drawn. */
export function shownOf(name) {
  const range = ranges.get(name) || 0;
  return Array.isArray(range) ? null : range;
}

function ends(name, low, high) {
  const range = ranges.get(name);
  if (!range) return [low, high];
  return Array.isArray(range) ? range : [Math.max(low, high - range), high];
}

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
    if (found.length) points.push({ at: entry.at, told: new Map(found.map((one) => [one.gate, { harm: one.log_e_harm, safe: one.within ? one.log_e_safe : null }])) });
    for (const one of found) known.add(one);
  }
  points.sort((one, other) => one.at - other.at);
  const gates = Object.fromEntries(Object.entries(columns.gates).map(([gate, one]) => [gate, { limit: one.limit, harm: [], safe: [] }]));
  for (const one of known) gates[one.gate] ||= { limit: one.log_e_limit, harm: [], safe: [] };
  let last = 0;
  points.forEach((point, index) => {
    for (const [gate, one] of Object.entries(gates)) {
      const { harm, safe } = point.told ? point.told.get(gate) || {} : { harm: columns.gates[gate]?.harm[point.index], safe: columns.gates[gate]?.safe[point.index] };
      one.harm.push(harm ?? null);
      one.safe.push(safe ?? null);
      if (harm !== undefined && harm !== null) last = index;
    }
  });
  const length = Math.min(points.length, last + 1 + TAIL);
  for (const one of Object.values(gates)) one.harm.length = one.safe.length = length;
  const at = points.slice(0, length).map((point) => point.at);
  return { at, gates, safety: at.map((_, index) => leastSafe(gates, index)), marks: columns.marks };
}

/** ln E of the comparison that is least shown to be safe: it is what the next phase waits for. Null where none has to be. */
function leastSafe(gates, index) {
  const shown = Object.values(gates).map((one) => one.safe[index]).filter((value) => value !== null);
  return shown.length ? Math.min(...shown) : null;
}

function draw(name, columns) {
  const place = document.querySelector(`[data-chart="${CSS.escape(name)}"]`);
  if (!place || !place.clientWidth) return;
  const gates = Object.keys(columns.gates).sort((one, other) => (other === TOGETHER) - (one === TOGETHER) || one.localeCompare(other));
  const data = [columns.at, ...gates.map((gate) => columns.gates[gate].harm.map((value) => decades(value, columns.gates[gate].limit))), columns.safety.map((value) => decades(value, SAFE_LIMIT))];
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
  const plot = new uPlot(options(gates, place.clientWidth, held, name), data, place);
  plot.setLegend({ idx: columns.at.length - 1 });
  made.set(name, { key, columns: held, plot });
}

function decades(logE, limit) {
  return logE === null || logE === undefined ? null : Math.min(HIGHEST, Math.max(LOWEST, (logE - limit) / Math.LN10));
}

const part = (_, decade) => (decade === null ? "–" : `${Number((10 ** decade).toPrecision(2))} × limit`);

function options(gates, width, held, name) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const ink = colour("--muted");
  const grid = { stroke: colour("--rule"), width: 1 };
  const font = "12px system-ui, sans-serif";
  return {
    width, height: HEIGHT, padding: [10, 34, 0, 0],
    cursor: { drag: { x: true, y: false, setScale: false }, bind: { dblclick: (plot) => () => { within(name, 0); plot.setData(plot.data); } } },
    scales: { x: { time: true, range: (_, low, high) => ends(name, low, high) }, y: { range: (_, low, high) => [Math.min(-2, Math.floor(low ?? -2)), Math.max(0.4, (high ?? 0) + 0.2)] } },
    axes: [
      { stroke: ink, grid, ticks: grid, font, space: 90, incrs: STEPS, values: (_, ticks, _axis, _space, step) => ticks.map((tick) => clock(tick, step)) },
      { stroke: ink, grid, ticks: grid, font, size: 74, incrs: [1, 2, 4], values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "limit" : `${10 ** tick} ×`)) },
    ],
    series: [
      { label: "time", value: (_, at) => (at === null ? "–" : clock(at, 1)) },
      ...gates.map((gate, index) => ({
        label: title(gate), stroke: colour(gate === TOGETHER ? "--ink" : COLOURS[index % COLOURS.length]), width: gate === TOGETHER ? 2.4 : 1.6,
        dash: gate === TOGETHER ? [] : DASHES[index % DASHES.length], points: { show: false },
        value: part,
      })),
      { label: "safety, where it is least", stroke: colour("--good"), width: 3, dash: [3, 4], points: { show: false }, value: part },
    ],
    hooks: { draw: [(plot) => marks(plot, held.now, colour)], setSelect: [(plot) => drawn(plot, name)] },
  };
}

/** What was drawn over with the mouse is what is shown. */
function drawn(plot, name) {
  const { left, width } = plot.select;
  if (width < 4) return;
  ranges.set(name, [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  plot.setData(plot.data);
}

function marks(plot, columns, colour) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.setLineDash([]);
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.strokeStyle = colour("--bad");
  const limit = plot.valToPos(0, "y", true);
  line(ctx, bbox.left, limit, bbox.left + bbox.width, limit);
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.strokeStyle = ctx.fillStyle = colour("--muted");
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  let free = bbox.left;
  for (const mark of columns.marks) {
    const at = plot.valToPos(mark.at, "x", true);
    const next = columns.marks[columns.marks.indexOf(mark) + 1];
    if (at < bbox.left && next && plot.valToPos(next.at, "x", true) <= bbox.left) continue; // over before what is shown
    const x = Math.max(bbox.left, at);
    if (x > bbox.left + bbox.width || mark.status === "pending") continue;
    line(ctx, x, bbox.top, x, bbox.top + bbox.height);
    const word = { progressing: mark.phase, rolled_back: "rolled back", completed: "completed" }[mark.status] || `${mark.status.replace("_", " ")}`;
    const wide = ctx.measureText(word).width + 8 * devicePixelRatio;
    const fits = x + wide < bbox.left + bbox.width;
    if ((fits ? x : x - wide) < free) continue; // of phases that are close together the first one is told
    free = fits ? x + wide : x;
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
