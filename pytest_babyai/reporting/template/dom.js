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

const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const find = (selector, root = document) => root.querySelector(selector);

const DASH = "–";
const known = (value) => value !== null && value !== undefined;
const whole = (value) => (known(value) ? Math.round(value).toLocaleString("en-US") : DASH);
const score = (value) => (known(value) ? value.toFixed(2) : DASH);
const seconds = (value) => (known(value) ? `${value.toFixed(value < 10 ? 2 : 1)} s` : DASH);
const plural = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

/* The address: #variant=history&task=goto&episode=history-goto-204&step=7&with=baseline-goto-204 */
const EPISODE_KEYS = ["episode", "step", "with"];
const readHash = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

function hashWith(changes, from = readHash()) {
  const parts = Object.entries({ ...from, ...changes }).filter(([, value]) => known(value) && value !== "");
  return `#${parts.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
}

/* Copies a text; where the clipboard is out of reach, by a selection. */
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", { readonly: true });
    area.value = text;
    button.after(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

/* Light, dark, or as the system has it; remembered where the browser allows. */
function startTheme() {
  const choice = find(".theme");
  choice.hidden = false;
  const remembered = storage(() => localStorage.getItem("babyai-theme")) || "auto";
  choice.addEventListener("change", (event) => setTheme(event.target.value));
  const input = find(`input[value="${CSS.escape(remembered)}"]`, choice);
  if (!input) return;
  input.checked = true;
  setTheme(remembered);
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  storage(() => localStorage.setItem("babyai-theme", theme));
}

function storage(access) {
  try {
    return access();
  } catch {
    return null; // a file opened from disk may have no storage
  }
}
