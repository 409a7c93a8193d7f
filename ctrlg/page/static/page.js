// The page: text, constraint, suggestions. Everything typed stays text; nothing of it is ever read as markup.
import { about, ask, follow, make, Problem } from "./api.js";
import { build } from "./fields.js";
import { show } from "./see.js";

const at = (id) => document.getElementById(id);
const CHECK_AFTER = 450; // milliseconds without typing
const PREPARE_AFTER = 900; // more, after which the server may begin with what Suggest will need
const EXAMPLE = { before: "On a sunny day", after: "." };

let fields;
let running = null; // what aborts the search
let checking = null;
let timer = 0;
let touched = false; // whether the visitor has typed anything yet
const undo = [];

const request = () => ({
  before: at("before").value,
  after: at("after").value,
  number: Number(at("number").value),
  fields: fields.values(),
});

function tell(problems, notes = {}) {
  fields.show(problems, notes);
  for (const name of ["before", "after", "number", "whole"]) {
    at(`problem-${name}`).textContent = problems[name] ?? "";
    at(name)?.setAttribute("aria-invalid", problems[name] ? "true" : "false");
  }
}

function changed() {
  touched = true;
  clearTimeout(timer);
  timer = setTimeout(check, CHECK_AFTER);
}

async function check() {
  checking?.abort();
  checking = new AbortController();
  try {
    const found = await ask("check", request(), checking.signal);
    if (found.overtaken) return;
    tell({}, found.notes);
    at("python").textContent = found.python;
    at("json").textContent = found.json;
    const { signal } = checking;
    timer = setTimeout(() => touched && ask("prepare", request(), signal).catch(() => {}), PREPARE_AFTER);
  } catch (error) {
    failed(error, at("message"));
  }
}

function failed(error, place) {
  if (error.name === "AbortError") return;
  if (!(error instanceof Problem)) throw error;
  if (Object.keys(error.problems ?? {}).length) tell(error.problems);
  place.textContent = error.message;
}

async function suggest(event) {
  event.preventDefault();
  fields.flush();
  if (running || at("suggest").disabled) return;
  clearTimeout(timer);
  checking?.abort();
  running = new AbortController();
  const asked = request();
  at("message").textContent = "";
  busy(true);
  try {
    await follow("suggest", asked, running.signal, (said) => {
      if (said.event === "progress") progress(said);
      if (said.event === "done") done(said, asked);
    });
  } catch (error) {
    if (error.name === "AbortError") at("message").textContent = "Cancelled.";
    failed(error, at("message"));
    const invalid = document.querySelector("[aria-invalid=true]");
    if (error.name !== "AbortError") invalid?.focus();
  } finally {
    running = null;
    busy(false);
  }
  changed();
}

function busy(now) {
  at("suggest").disabled = now;
  at("compare").disabled = now;
  at("cancel").hidden = !now;
  at("progress").hidden = !now;
  if (now && at("suggestions").children.length) at("suggestions-empty").textContent = "From your last request:";
  at("suggestions").setAttribute("aria-busy", String(now));
  at("bar").removeAttribute("value");
  at("bar-text").textContent = now ? "Asking …" : "";
}

function progress({ ahead, decided, most, state }) {
  if (ahead) at("bar-text").textContent = `Waiting: ${ahead} ${ahead === 1 ? "search is" : "searches are"} before yours.`;
  else if (!decided) at("bar-text").textContent = state === "running" && most ? "Reading your text …" : "Preparing the constraint …";
  else {
    at("bar").max = most;
    at("bar").value = decided;
    at("bar-text").textContent = `${decided} of at most ${most} tokens decided`;
  }
}

function done({ search, suggestions, seconds, reads, notes }, asked) {
  tell({}, notes);
  at("suggestions-empty").textContent = "The best one comes first. A click inserts it.";
  at("suggestions").replaceChildren(...suggestions.map((one, place) => card(one, place, search)));
  const count = suggestions.length === 1 ? "1 suggestion" : `${suggestions.length} suggestions`;
  const fewer = suggestions.length < asked.number ? " No more different ones were found." : "";
  at("message").textContent = `${count} in ${seconds.toFixed(1)} s.${fewer}`;
  remember(asked, reads, suggestions[0].content);
}

const pieces = (one) =>
  one.pieces.map((piece) => make(piece.kept ? "mark" : "span", { className: piece.new ? "new" : "old" }, piece.text));

function card(one, place, search) {
  const insert = make(
    "button",
    { type: "button", className: "insert", title: "Insert into your text", on: { click: () => put(one) } },
    ...pieces(one),
  );
  const see = make(
    "button",
    { type: "button", className: "quiet", on: { click: () => look(search, place, one, see) } },
    "How it was written",
  );
  const kept = one.satisfied ? "✓ satisfies the constraint" : "✗ does not satisfy the constraint";
  return make(
    "li",
    {},
    insert,
    make("div", { className: "below" }, make("span", {}, `${kept} · ${nats(one)}`), see),
  );
}

function put(one) {
  undo.push({ before: at("before").value, after: at("after").value });
  at("before").value = one.inserted;
  at("undo").disabled = false;
  at("message").textContent = "Inserted before the gap. Undo insert takes it back.";
  changed();
}

function takeBack() {
  const last = undo.pop();
  if (!last) return;
  at("before").value = last.before;
  at("after").value = last.after;
  at("undo").disabled = !undo.length;
  at("message").textContent = "Taken back.";
  if (!undo.length) at("before").focus();
  changed();
}

async function look(search, place, one, button) {
  button.disabled = true;
  button.textContent = "Reading it again …";
  try {
    await follow("trace", { search, place }, undefined, (said) => {
      if (said.event !== "done") return;
      at("see").hidden = false;
      at("see-text").replaceChildren(...pieces(one));
      show(said.trace, at("see-scroll"), at("see-token"));
      at("see-heading").focus({ preventScroll: true });
      at("see").scrollIntoView({ block: "nearest" });
    });
  } catch (error) {
    failed(error, at("message"));
  } finally {
    button.disabled = false;
    button.textContent = "How it was written";
  }
}

let comparing = null;

async function compare() {
  fields.flush();
  comparing = new AbortController();
  at("compare").disabled = true;
  at("compare-cancel").hidden = false;
  at("compare-rows").replaceChildren();
  at("compare-scroll").hidden = true;
  const say = (text) => {
    if (at("compare-message").textContent !== text) at("compare-message").textContent = text;
  };
  say("Comparing …");
  try {
    await follow("compare", request(), comparing.signal, (said) => {
      if (said.event === "compressing") say(said.message);
      if (said.event === "progress")
        say(said.ahead ? `Waiting: ${said.ahead} before yours.` : said.decided ? `Comparing: ${said.decided} of at most ${said.most} tokens decided` : "Comparing: preparing the constraint …");
      if (said.event === "row") {
        at("compare-scroll").hidden = false;
        at("compare-rows").append(row(said.row));
      }
      if (said.event === "done") say(`Compared in ${said.seconds.toFixed(1)} s.`);
    });
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled.");
    else say("");
    failed(error, at("compare-message"));
  } finally {
    comparing = null;
    at("compare").disabled = running !== null;
    at("compare-cancel").hidden = true;
  }
}

function row({ name, disk, bytes, milliseconds, suggestion }) {
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, name),
    make("td", { className: "number" }, disk ? size(disk) : "–"),
    make("td", { className: "number" }, bytes ? size(bytes) : "–"),
    make("td", { className: "number" }, `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`),
    make("td", { className: "text" }, ...pieces(suggestion), make("div", { className: "hint" }, nats(suggestion))),
  );
}

const nats = (one) => `${one.nats.toFixed(2).replace("-", "−")} nats per token`;

const size = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

function remember(asked, reads, content) {
  at("history-empty").hidden = true;
  const time = new Date().toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
  const what = reads || "anything";
  const again = make(
    "button",
    {
      type: "button",
      className: "quiet",
      "aria-label": `Use again: ${what}`,
      on: {
        click() {
          fill(asked);
          changed();
          at("message").textContent = "Text and constraint are those of then.";
          at("before").focus();
        },
      },
    },
    "Use again",
  );
  at("history").prepend(make("li", {}, make("p", {}, `${time} · ${what} · “${content.trim()}”`), again));
}

function fill({ before, after, number, fields: values }) {
  at("before").value = before;
  at("after").value = after;
  at("number").value = String(number);
  fields.fill(values);
}

async function copy(event) {
  const button = event.currentTarget;
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(at(button.dataset.copies).textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(at(button.dataset.copies));
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => (button.textContent = label), 2000);
}

async function start() {
  let found;
  for (;;) {
    try {
      found = await about();
    } catch {
      at("models").textContent = "The page's server does not answer. Is it still running?";
      await new Promise((wake) => setTimeout(wake, 1000));
      continue;
    }
    if (!fields) {
      fields = build(found.fields, found, changed);
      at("fields").append(...fields.elements);
      for (let number = 1; number <= found.most_suggestions; number += 1) at("number").append(make("option", { value: String(number) }, String(number)));
      fill({ ...EXAMPLE, number: 3, fields: {} });
    }
    if (found.ready || found.failure) break;
    at("models").textContent = "Loading the models … you can type already.";
    await new Promise((wake) => setTimeout(wake, 400));
  }
  if (found.failure) {
    at("models").textContent = found.failure;
    return;
  }
  const guide = found.guide ? `guide of ${found.guide.states.toLocaleString("en")} states, ${size(found.guide.bytes)}` : "no guide: mask alone";
  const local = ["127.0.0.1", "localhost", "[::1]"].includes(location.hostname);
  at("models").textContent = `Ready. Model: ${found.name}; ${guide}.${local ? " Nothing leaves this computer." : ""}`;
  at("suggest").disabled = false;
  at("compare").disabled = false;
  check();
}

at("form").addEventListener("submit", suggest);
at("cancel").addEventListener("click", () => running?.abort());
at("undo").addEventListener("click", takeBack);
at("clear").addEventListener("click", () => {
  undo.push({ before: at("before").value, after: at("after").value });
  at("undo").disabled = false;
  at("before").value = "";
  at("after").value = ".";
  at("before").focus();
  changed();
});
at("compare").addEventListener("click", compare);
at("compare-cancel").addEventListener("click", () => comparing?.abort());
for (const name of ["before", "after", "number"]) at(name).addEventListener("input", changed);
for (const button of document.querySelectorAll(".copy")) button.addEventListener("click", copy);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") (running ?? comparing)?.abort();
});
start();
