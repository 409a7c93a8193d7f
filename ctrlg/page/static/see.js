// How a suggestion was written: a curve, its tokens, and what else could have come at each.
import { make } from "./api.js";

const COLUMN = 88; // width of a token
const HEIGHT = 200;
const TOP = 26;
const BOTTOM = 26;
const LOWEST = 1e-12;
const SVG = "http://www.w3.org/2000/svg";

export const readable = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥") || "end of text";

export function percent(value) {
  if (value >= 0.9995) return "100 %";
  if (value >= 0.01) return `${Number((100 * value).toPrecision(2))} %`;
  if (value >= 0.0001) return `${Number((100 * value).toPrecision(1))} %`;
  if (!(value > 0)) return "0";
  const power = Math.floor(Math.log10(value));
  return `${Math.max(1, Math.round(value / 10 ** power))} · 10⁻${raised(String(-power))}`;
}

const raised = (digits) => [...digits].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");

// Fills `scroll` with the curve and the tokens; `detail` shows the chosen one.
export function show(trace, scroll, detail) {
  const buttons = trace.steps.map((step, place) =>
    make(
      "button",
      {
        type: "button",
        "aria-pressed": "false",
        title: readable(step.text),
        "aria-label": `Token ${place + 1} of ${trace.steps.length}: ${readable(step.text)}`,
        on: { click: () => choose(place) },
      },
      step.part === "end" ? "end" : readable(step.text),
    ),
  );
  const picture = curve(trace);
  const choose = (place) => {
    buttons.forEach((button, other) => button.setAttribute("aria-pressed", String(other === place)));
    picture.dots.forEach((dot, other) => dot.classList.toggle("chosen", other === place + 1));
    detail.replaceChildren(...details(trace, place));
  };
  const items = buttons.map((button) => sized(make("li", {}, button)));
  const tokens = make("ul", { className: "tokens" }, sized(make("li", { className: "start" }, "start")), ...items);
  scroll.replaceChildren(...(picture.element ? [picture.element] : []), tokens);
  scroll.scrollLeft = 0;
  choose(0);
}

function sized(item) {
  item.style.width = `${COLUMN}px`;
  return item;
}

function curve(trace) {
  if (trace.start === null) return { element: make("p", { className: "quiet-text" }, "Without a guide there is no curve."), dots: [] };
  const values = [trace.start, ...trace.steps.map((step) => step.satisfied)].map((value) => Math.max(value, LOWEST));
  const lowest = Math.min(-1, Math.floor(Math.log10(Math.min(...values))));
  const x = (place) => (place + 0.5) * COLUMN;
  const y = (value) => TOP + (Math.log10(value) / lowest) * (HEIGHT - TOP - BOTTOM);
  const width = values.length * COLUMN;
  const element = drawn("svg", { class: "curve", width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img" });
  element.setAttribute(
    "aria-label",
    `Probability that the constraint will be satisfied: ${percent(values[0])} at the start, ` +
      trace.steps.map((step, place) => `${percent(values[place + 1])} after ${readable(step.text)}`).join(", "),
  );
  const every = Math.ceil(-lowest / 4);
  for (let power = 0; power >= lowest; power -= every) {
    const height = y(10 ** power);
    element.append(drawn("line", { class: power ? "grid" : "grid one", x1: 0, x2: width, y1: height, y2: height }));
    element.append(drawn("text", { class: "scale", x: 2, y: height - 4 }, power ? `10${power < 0 ? "⁻" : ""}${raised(String(-power))}` : "1"));
  }
  element.append(
    drawn("path", { class: "line", d: values.map((value, place) => `${place ? "L" : "M"}${x(place)} ${y(value)}`).join("") }),
  );
  const dots = values.map((value, place) => drawn("circle", { cx: x(place), cy: y(value), r: 5 }));
  element.append(...dots);
  values.forEach((value, place) => {
    // Beside the line: below and to the right where it rises from here, else above, or below where there is no room.
    const rises = place + 1 < values.length && y(value) - y(values[place + 1]) > 14;
    const down = y(value) < TOP + 24 ? 20 : -10;
    const [right, lower, anchor] = rises ? [8, 15, "start"] : [0, down, "middle"];
    element.append(drawn("text", { x: x(place) + right, y: y(value) + lower, "text-anchor": anchor }, percent(value)));
  });
  return { element, dots };
}

function drawn(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function details(trace, place) {
  const step = trace.steps[place];
  const needed =
    step.needed === null ? "" : step.needed === 0 ? " Nothing is missing any more." : ` At least ${step.needed} more ${step.needed === 1 ? "token" : "tokens"} are needed.`;
  return [
    make(
      "p",
      { className: "facts" },
      `“${readable(step.text).trim()}”: ${percent(step.alone)} by the language model alone, ${percent(step.guided)} with the guide. ` +
        `The automaton is in state ${step.state.toLocaleString("en")} of ${trace.states.toLocaleString("en")}.${needed}`,
    ),
    make(
      "div",
      { className: "preferred" },
      preferred("The language model alone", step.preferred.alone, step.id),
      preferred("With mask and guide", step.preferred.guided, step.id),
    ),
  ];
}

function preferred(heading, tokens, written) {
  const rows = tokens.map((token) => {
    const fill = make("span", { className: "fill" });
    fill.style.width = `${100 * token.probability}%`;
    const held = make("span", { className: "held" }, fill, make("span", { className: "word" }, readable(token.text)));
    return make(
      "li",
      { className: token.id === written ? "written" : "" },
      held,
      make("span", { className: "share" }, percent(token.probability)),
    );
  });
  return make("div", {}, make("h3", {}, heading), make("ol", {}, ...rows));
}
