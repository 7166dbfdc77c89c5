/** What every section needs of the page: elements by name, chips, the notice, settings, and work that can be stopped. */

import { Refused } from "./api.js";
import { put } from "./words.js";

/** The element of this id. */
export const at = (id) => document.getElementById(id);

/** Fills a row of chips; pressing one does `act(text)`. */
export function chips(id, texts, act) {
  at(id).replaceChildren(...texts.map((text) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.lang = "zh-CN";
    chip.textContent = text;
    chip.addEventListener("click", () => act(text));
    return chip;
  }));
}

/** Says what went wrong and what to do, a text by its name and values, until something goes right; none clears it. */
export function notice(name, ...values) {
  put(at("notice"), name, ...values);
  at("notice").hidden = !name;
  if (name) at("notice").scrollIntoView({ block: "nearest" });
}

/** Numbers of the settings by name, undefined where a field is empty; null, and a notice, if one is not allowed. */
export function settings(...names) {
  for (const name of names) {
    const field = at(name);
    if (field.checkValidity()) continue;
    at("settings").open = true;
    field.focus();
    notice("not_allowed", [name], field.min, field.max, field.step);
    return null;
  }
  return Object.fromEntries(names.map((name) => [name, at(name).value === "" ? undefined : at(name).valueAsNumber]));
}

/** A seed by chance, short enough to type. */
export const drawn = () => 1 + Math.floor(Math.random() * 9999);

/**
 * Does one piece of work of a section at a time. While it runs, `stop` is there to stop it. What goes wrong is said; a
 * server that is busy is asked again after as long as it says.
 */
export class Work {
  constructor(stop) {
    this.stop = stop;
    stop?.addEventListener("click", () => this.cancel());
  }

  cancel() {
    this.controller?.abort();
  }

  /** How it `ended`, "done", "stopped", "failed", or "replaced" by the next one; and what it came to, its `value`. */
  async run(work) {
    this.cancel();
    const controller = (this.controller = new AbortController());
    if (this.stop) this.stop.hidden = false;
    notice();
    try {
      return { ended: "done", value: await this.persist(work, controller.signal) };
    } catch (error) {
      if (this.controller !== controller) return { ended: "replaced" };
      if (controller.signal.aborted) return { ended: "stopped" };
      notice(...told(error));
      return { ended: "failed" };
    } finally {
      if (this.controller === controller && this.stop) this.stop.hidden = true;
    }
  }

  async persist(work, signal) {
    for (;;) {
      try {
        return await work(signal);
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 429 || signal.aborted) throw error;
        for (let left = error.wait; left > 0 && !signal.aborted; left--) {
          notice("busy", left);
          await new Promise((resolve) => setTimeout(resolve, 1000));
        }
        signal.throwIfAborted();
        notice();
      }
    }
  }
}

/** What the server says in words alone, and what is said of it here. */
const FAULTS = {
  unreadable: /picture cannot be read/,
  many_pixels: /picture has .*pixels/,
  large_file: /picture is larger than/,
  long_text: /text has (\d+) (?:characters|tokens), .*at most (\d+)/,
};
/** The same by code, and by status. */
const CODES = { timeout: "timeout", too_large: "large_request", 413: "large_request", 503: "closing", 504: "timeout" };

/** What is said of an error, and what to do about it: a text by its name and values. */
export function told(error) {
  if (!(error instanceof Refused)) return error instanceof TypeError ? ["no_server"] : ["failed", error.message];
  if (error.status === 401) {
    at("settings").open = true;
    at("key").focus();
    return [at("key").value ? "key_wrong" : "key_missing"];
  }
  const known = CODES[error.code] ?? CODES[error.status];
  if (known) return [known];
  for (const [name, words] of Object.entries(FAULTS)) {
    const found = words.exec(error.message);
    if (found) return [name, ...found.slice(1)];
  }
  return ["failed", error.message];
}
