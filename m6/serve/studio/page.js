/** What every section needs of the page: elements by name, chips, the notice, settings, and work that can be stopped. */

import { Refused } from "./api.js";
import { say } from "./words.js";

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

/** Says what went wrong and what to do, until something goes right; nothing clears it. */
export function notice(text = "") {
  at("notice").textContent = text;
  at("notice").hidden = !text;
  if (text) at("notice").scrollIntoView({ block: "nearest" });
}

/** A number of the settings; undefined if its field is empty. */
export function setting(id) {
  const field = at(id);
  return field.value === "" || !field.checkValidity() ? undefined : field.valueAsNumber;
}

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

  async run(work) {
    this.cancel();
    const controller = (this.controller = new AbortController());
    if (this.stop) this.stop.hidden = false;
    notice();
    try {
      return await this.persist(work, controller.signal);
    } catch (error) {
      if (controller.signal.aborted) return undefined;
      notice(told(error));
    } finally {
      if (this.controller === controller && this.stop) this.stop.hidden = true;
    }
    return undefined;
  }

  async persist(work, signal) {
    for (;;) {
      try {
        return await work(signal);
      } catch (error) {
        if (!(error instanceof Refused) || error.status !== 429 || signal.aborted) throw error;
        for (let left = error.wait; left > 0 && !signal.aborted; left--) {
          notice(say("busy", left));
          await new Promise((resolve) => setTimeout(resolve, 1000));
        }
        signal.throwIfAborted();
        notice();
      }
    }
  }
}

/** What is said of an error: what to do about it. */
export function told(error) {
  if (!(error instanceof Refused)) return error instanceof TypeError ? say("no_server") : say("failed", error.message);
  if (error.status === 401) {
    at("settings").open = true;
    at("key").focus();
    return say("key_wrong");
  }
  return say("failed", error.message);
}
