// Requests to the page's own server. Nothing is ever fetched from elsewhere.

export class Problem extends Error {
  // problems: message of each field.
  constructor(message, problems = {}) {
    super(message);
    this.problems = problems;
  }
}

async function post(name, body, signal) {
  let answer;
  try {
    answer = await fetch(`/api/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The page's server does not answer. Is it still running?");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Problem(said.error || (said.problems ? "" : "The page's server could not answer that."), said.problems);
  }
  return answer;
}

export async function ask(name, body, signal) {
  return (await post(name, body, signal)).json();
}

// Calls `heard` for every line of the answer; an aborted signal ends the work on the server, too.
export async function follow(name, body, signal, heard) {
  const reader = (await post(name, body, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const said = JSON.parse(line);
      if (said.event === "error") throw new Problem(said.error, said.problems);
      heard(said);
    }
  }
}

export async function about() {
  return (await fetch("/api/page")).json();
}

// An element with attributes, properties and children; texts become text, never markup.
export function make(tag, given = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name === "on") for (const [event, heard] of Object.entries(value)) element.addEventListener(event, heard);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
