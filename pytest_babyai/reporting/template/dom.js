/* Elements. Text enters the page here only, as text: nothing a model wrote is ever parsed as HTML. */
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const make = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);
const find = (selector, root = document) => root.querySelector(selector);

const DASH = "–";
const known = (value) => value !== null && value !== undefined;
const whole = (value) => (known(value) ? Math.round(value).toLocaleString("en-US") : DASH);
const score = (value) => (known(value) ? value.toFixed(2) : DASH);
const seconds = (value) => (known(value) ? `${value.toFixed(value < 10 ? 2 : 1)} s` : DASH);
const plural = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
