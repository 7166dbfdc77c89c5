/** What the page asks of the server, by the public interface alone. */

import { at } from "./page.js";
import { put } from "./words.js";

/** The server said no: `status`, what it said and its `code`, and after how many seconds to ask again. */
export class Refused extends Error {
  constructor(status, error, wait) {
    super(error.message);
    Object.assign(this, { status, wait, code: error.code });
  }
}

/** The first model: its name, side of its pictures in pixels, and which sections it can do. */
export async function models() {
  const answer = await ask("v1/models");
  const first = (await answer.json()).data[0];
  return first;
}

/** Writes an answer to messages; `tell(text)` is told all of it so far. Returns the whole. */
export async function chat(messages, options, signal, tell) {
  let text = "";
  const started = performance.now();
  let first = 0;
  let count = 0;
  for await (const event of stream("v1/chat/completions", { messages, stream: true, ...options }, signal)) {
    const piece = event.choices?.[0]?.delta?.content ?? "";
    if (!piece) continue;
    first ||= performance.now();
    count += 1;
    tell((text += piece));
  }
  speed(first - started, count, performance.now() - first);
  return text;
}

/** How well each text fits a picture, nats: higher is better. */
export async function match(image, texts, signal) {
  const answer = await ask("v1/match", { image, texts }, signal);
  return (await answer.json()).scores;
}

/** Paints; `tell(index, url, whole)` is told every picture as it comes. Returns whether all are done. */
export async function paint(options, signal, tell) {
  for await (const event of stream("v1/images/generations", { response_format: "b64_json", stream: true, ...options }, signal)) {
    if (event.b64_json) tell(event.index ?? 0, `data:image/png;base64,${event.b64_json}`, event.type === "image_generation.completed");
  }
  return true;
}

async function ask(path, body, signal) {
  const headers = at("key").value ? { Authorization: `Bearer ${at("key").value}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, said.error ?? { message: answer.statusText }, Number(answer.headers.get("Retry-After")) || 2);
}

/** The events of a stream, as objects. */
async function* stream(path, body, signal) {
  const answer = await ask(path, body, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split(/\r?\n\r?\n/);
    rest = events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (!data || data === "[DONE]") continue;
      const found = JSON.parse(data);
      if (found.error) throw new Refused(500, found.error, 2);
      yield found;
    }
  }
}

function speed(wait, count, time) {
  put(at("speed"), "speed", Math.round(wait), time > 0 ? Math.round((1000 * count) / time) : "–");
}
