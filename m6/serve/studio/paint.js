/** Painting: pictures of a prompt, seen code by code; each can be varied, kept, downloaded and asked about. */

import { paint } from "./api.js";
import * as gallery from "./gallery.js";
import { at, chips, drawn, notice, settings, Work } from "./page.js";
import { put } from "./words.js";

const PROMPTS = ["红苹果", "救护车", "左边是企鹅，右边是西瓜", "紫色的爱心", "左边是红色的气球，右边是绿色的书本"];

let work;

export function start() {
  work = new Work(document.querySelector("#panel-paint .stop"));
  at("paint-form").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
  chips("prompts", PROMPTS, (text) => { at("prompt").value = text; begin(); });
}

async function begin(seed) {
  const prompt = at("prompt").value.trim();
  if (!prompt) return notice("need_prompt");
  const set = settings("count", "guidance", "seed");
  if (!set) return undefined;
  const count = set.count ?? 4;
  const first = seed ?? set.seed ?? drawn();
  const cards = Array.from({ length: count }, (_, index) => gallery.card(prompt, first + index, begin));
  at("pictures").replaceChildren(...cards);
  for (const card of cards) card.classList.add("busy");
  const started = performance.now();
  let finished = 0;
  const tell = () => put(at("paint-state"), "painting", Math.min(finished + 1, count), count);
  tell();
  const options = { prompt, n: count, seed: first, guidance: set.guidance ?? 1 };
  const { ended } = await work.run((signal) => paint(options, signal, (index, url, whole) => {
    cards[index].querySelector("img").src = url;
    if (whole) {
      gallery.finish(cards[index], url);
      finished += 1;
      tell();
    }
  }));
  if (ended === "replaced") return undefined;
  for (const card of cards) if (card.classList.contains("busy")) card.remove();
  const said = { done: ["painted", ((performance.now() - started) / 1000).toFixed(1)], stopped: ["stopped"], failed: [] };
  return put(at("paint-state"), ...said[ended]);
}
