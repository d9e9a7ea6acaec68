// Elements from values. Text is only ever text: nothing here, or anywhere in the console, turns a string into markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `attributes` that are null or false are left out, children are elements, texts, lists, or nothing. */
export function h(name, attributes, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function s(name, attributes, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(key, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false || child === "") continue;
    if (Array.isArray(child)) add(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Make `place` show `children`, touching only what is different: focus, selection, open details and scrolling stay as they are. */
export function show(place, ...children) {
  const made = document.createElement("div");
  add(made, children);
  merge(place, made);
}

const OWN = new Set(["open", "value", "checked"]); // what the reader has changed is the reader's

function merge(old, made) {
  const wanted = [...made.childNodes];
  for (let index = 0; index < wanted.length; index += 1) {
    const now = old.childNodes[index];
    const next = wanted[index];
    if (!now) old.append(next);
    else if (!alike(now, next)) now.replaceWith(next);
    else if (now.nodeType === Node.TEXT_NODE) {
      if (now.data !== next.data) now.data = next.data;
    } else if (now.nodeType === Node.ELEMENT_NODE) {
      attributes(now, next);
      if (!now.hasAttribute("data-keep")) merge(now, next);
    }
  }
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

function alike(one, other) {
  if (one.nodeType !== other.nodeType || one.nodeName !== other.nodeName) return false;
  return one.nodeType !== Node.ELEMENT_NODE || one.getAttribute("data-key") === other.getAttribute("data-key");
}

function attributes(now, next) {
  for (const { name } of [...now.attributes]) {
    if (!next.hasAttribute(name) && !OWN.has(name) && !(name === "style" && now.hasAttribute("data-keep"))) now.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (!OWN.has(name) && now.getAttribute(name) !== value) now.setAttribute(name, value);
  }
}
