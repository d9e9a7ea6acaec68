// Numbers and instants as people read them. Instants are in the viewer's zone, with UTC in the title.

import { h } from "./dom.js";

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });

const MINUTE = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

/** An instant on an axis whose ticks are `step` seconds apart. */
export const clock = (at, step) => (step >= 86_400 ? DATE : step >= 60 ? MINUTE : CLOCK).format(new Date(at * 1000));

export const whole = (number) => WHOLE.format(number);
export const percent = (share, digits = 1) => `${trimmed(share * 100, digits)} %`;

function trimmed(number, digits) {
  return Number(number.toFixed(digits)).toString();
}

/** `1 d 4 h`, `3 min 20 s`, `0.4 s`. */
export function lasting(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const told = Math.max(0, seconds);
  if (told < 1) return `${told.toFixed(1)} s`;
  if (told < 60) return `${Math.floor(told)} s`;
  if (told < 3600) return `${Math.floor(told / 60)} min ${Math.floor(told % 60)} s`;
  if (told < 86400) return `${Math.floor(told / 3600)} h ${Math.floor((told % 3600) / 60)} min`;
  return `${Math.floor(told / 86400)} d ${Math.floor((told % 86400) / 3600)} h`;
}

/** An instant (Unix seconds) as an element. */
export function instant(at) {
  const date = new Date(at * 1000);
  const near = Math.abs(Date.now() - date.getTime()) < 12 * 3600 * 1000;
  const utc = date.toISOString();
  return h("time", { datetime: utc, title: `${utc.replace("T", " ").replace(/\.\d+Z/, "")} UTC` }, (near ? CLOCK : DAY).format(date));
}

/** E from its logarithm: `0.9`, `45`, `10^12`. */
export function eValue(logE) {
  if (logE === null || logE === undefined) return "–";
  if (logE > Math.log(1e5)) return `10${raised(Math.round(logE / Math.LN10))}`;
  const value = Math.exp(logE);
  return value >= 9.95 ? whole(value) : String(Number(value.toPrecision(2)));
}

function raised(power) {
  return String(power).replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
}

/** A value of a measure in its unit. */
export function valued(number, unit) {
  if (number === null || number === undefined) return "–";
  switch (unit) {
    case "share": return `${(number * 100).toFixed(2)} %`;
    case "seconds": return number >= 1 ? `${number.toFixed(2)} s` : `${(number * 1000).toFixed(0)} ms`;
    case "usd": return `$${number < 0.01 ? number.toPrecision(3) : number.toFixed(3)}`;
    case "score": return number.toFixed(3);
    case "requests": return number.toFixed(2);
    case "tokens": case "tokens/s": return whole(number);
    default: return String(Number(number.toPrecision(4)));
  }
}

/** A difference, with its sign. */
export function differing(number, unit) {
  if (number === null || number === undefined) return "–";
  const sign = number < 0 ? "−" : "+";
  const size = Math.abs(number);
  if (unit === "share") return `${sign}${(size * 100).toFixed(2)} pp`;
  return sign + valued(size, unit);
}

/** USD; below 0 is what is saved. */
export function money(usd) {
  if (usd === null || usd === undefined) return "–";
  const size = Math.abs(usd);
  return `${usd < 0 && size >= 0.0005 ? "−" : ""}$${size >= 100 ? whole(size) : size.toFixed(size < 1 ? 3 : 2)}`;
}
