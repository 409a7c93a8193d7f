// The fields of the constraint, as the server lists them: a new kind of constraint needs nothing here.
import { make } from "./api.js";

const KINDS = { chips, check, number, text };

// fields: the server's list. changed: called after every change. Returns {element, values(), fill(values), show(...)}.
export function build(fields, limits, changed) {
  const built = fields.map((field) => fieldset(field, limits, changed));
  return {
    elements: built.map((one) => one.element),
    values: () => Object.fromEntries(built.map((one) => [one.name, one.values()])),
    fill: (values) => built.forEach((one) => one.fill(values[one.name] ?? {})),
    show: (problems, notes) => built.forEach((one) => one.show(problems[one.name] ?? "", notes[one.name] ?? "")),
    flush: () => built.forEach((one) => one.flush()),
  };
}

function fieldset(field, limits, changed) {
  const problem = make("p", { className: "problem", id: `problem-${field.name}`, "aria-live": "polite" });
  const note = make("p", { className: "note", "aria-live": "polite" });
  const tell = (message) => {
    problem.textContent = message;
  };
  const controls = field.controls.map((control) => ({
    ...KINDS[control.kind](control, { id: `${field.name}-${control.name}`, problem: problem.id, limits, changed, tell }),
    name: control.name,
    kind: control.kind,
  }));
  const notTicked = controls.filter((control) => control.kind !== "check");
  const typed = notTicked.length ? notTicked : controls; // those that a problem can be in
  const element = make("fieldset", { id: `field-${field.name}` }, make("legend", {}, field.label));
  for (const kind of ["chips", "text", "number", "check"]) {
    const some = controls.filter((control) => control.kind === kind).map((control) => control.element);
    if (!some.length) continue;
    const group = { number: "numbers", check: "ticks" }[kind];
    element.append(...(group ? [make("div", { className: group }, ...some)] : some));
  }
  element.append(note, problem);
  return {
    name: field.name,
    element,
    values: () => Object.fromEntries(controls.map((control) => [control.name, control.value()])),
    fill: (values) => controls.forEach((control) => control.fill(values[control.name])),
    flush: () => controls.forEach((control) => control.flush?.()),
    show(message, remark) {
      problem.textContent = message;
      note.textContent = message ? "" : remark;
      for (const control of typed) control.input.setAttribute("aria-invalid", message ? "true" : "false");
    },
  };
}

function chips(control, { id, problem, limits, changed, tell }) {
  let phrases = [];
  const list = make("ul", { className: "chips" });
  const input = make("input", {
    type: "text",
    id,
    placeholder: control.label,
    autocomplete: "off",
    enterKeyHint: "enter",
    "aria-label": control.label,
    "aria-describedby": `${id}-hint ${problem}`,
  });
  const render = () => {
    list.replaceChildren(
      ...phrases.map((phrase, place) =>
        make(
          "li",
          {},
          make("span", {}, phrase),
          make("button", { type: "button", "aria-label": `Remove ${phrase}`, on: { click: () => remove(place) } }, "×"),
        ),
      ),
    );
  };
  const remove = (place) => {
    phrases.splice(place, 1);
    render();
    input.focus();
    changed();
  };
  const add = () => {
    const typed = input.value.split(/[,;\n]/).map((phrase) => phrase.trim()).filter(Boolean);
    if (!typed.length) return true;
    const fresh = [...new Set([...phrases, ...typed])];
    const long = typed.find((phrase) => phrase.length > limits.longest_phrase);
    if (long) tell(`A phrase has ${long.length.toLocaleString("en")} characters; at most ${limits.longest_phrase} fit.`);
    else if (fresh.length > limits.most_phrases)
      tell(`${fresh.length.toLocaleString("en")} phrases are too many; at most ${limits.most_phrases} fit.`);
    if (long || fresh.length > limits.most_phrases) {
      input.setAttribute("aria-invalid", "true");
      return false;
    }
    phrases = fresh;
    input.value = "";
    render();
    changed();
    return true;
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && input.value.trim()) {
      event.preventDefault();
      add();
    } else if (event.key === "Backspace" && !input.value && phrases.length) remove(phrases.length - 1);
  });
  input.addEventListener("input", () => /[,;]$/.test(input.value) && add());
  input.addEventListener("paste", (event) => {
    const pasted = event.clipboardData.getData("text");
    if (!/[\n,;]/.test(pasted.trim())) return;
    event.preventDefault();
    input.value += pasted.replace(/\s*\n\s*/g, ",");
    add();
  });
  input.addEventListener("blur", add);
  return {
    element: make(
      "div",
      {},
      list,
      make("div", { className: "adder" }, input, make("button", { type: "button", on: { click: add } }, "Add")),
      make("p", { className: "hint", id: `${id}-hint` }, control.hint),
    ),
    input,
    value: () => phrases,
    flush: add,
    fill(value) {
      phrases = [...(value ?? control.default ?? [])];
      input.value = "";
      render();
    },
  };
}

function check(control, { id, changed }) {
  const input = make("input", { type: "checkbox", id, on: { change: changed } });
  return {
    element: make("label", { className: "tick", htmlFor: id }, input, control.label),
    input,
    value: () => input.checked,
    fill(value) {
      input.checked = Boolean(value ?? control.default);
    },
  };
}

function number(control, { id, problem, changed }) {
  const input = make("input", {
    type: "number",
    id,
    min: "0",
    max: String(control.most),
    step: "1",
    inputMode: "numeric",
    "aria-describedby": problem,
    on: { input: changed },
  });
  return {
    element: make("label", { htmlFor: id }, control.label, input),
    input,
    // What is no number goes to the server as it is, which says so.
    value: () => (input.value === "" ? (input.validity.badInput ? "?" : null) : Number(input.value)),
    fill(value) {
      input.value = value ?? control.default ?? "";
    },
  };
}

function text(control, { id, problem, changed }) {
  const input = make("input", {
    type: "text",
    id,
    autocomplete: "off",
    "aria-describedby": `${id}-hint ${problem}`,
    on: { input: changed },
  });
  return {
    element: make(
      "div",
      {},
      make("label", { htmlFor: id }, control.label),
      input,
      make("p", { className: "hint", id: `${id}-hint` }, control.hint),
    ),
    input,
    value: () => input.value,
    fill(value) {
      input.value = value ?? control.default ?? "";
    },
  };
}
