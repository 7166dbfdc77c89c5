/** Painting: pictures of a prompt, seen code by code; each can be varied, kept, downloaded and asked about. */

import { paint } from "./api.js";
import * as gallery from "./gallery.js";
import { at, chips, notice, setting, Work } from "./page.js";
import { say } from "./words.js";

const PROMPTS = ["左边是企鹅，右边是西瓜", "红苹果", "一只猫", "三个橙子", "蓝色的圆形"];

let work;

export function start() {
  work = new Work(document.querySelector("#paint .stop"));
  at("paint-form").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
  chips("prompts", PROMPTS, (text) => { at("prompt").value = text; begin(); });
}

async function begin(seed = setting("seed") ?? 1 + Math.floor(Math.random() * 9999)) {
  const prompt = at("prompt").value.trim();
  if (!prompt) return notice(say("need_prompt"));
  const count = setting("count") ?? 4;
  const cards = Array.from({ length: count }, (_, index) => gallery.card(prompt, seed + index, begin));
  at("pictures").replaceChildren(...cards);
  for (const card of cards) card.classList.add("busy");
  const started = performance.now();
  let finished = 0;
  const tell = () => { at("paint-state").textContent = say("painting", Math.min(finished + 1, count), count); };
  tell();
  const done = await work.run((signal) => paint({ prompt, n: count, seed, guidance: setting("guidance") ?? 1 }, signal, (index, url, whole) => {
    cards[index].querySelector("img").src = url;
    if (whole) {
      gallery.finish(cards[index], url);
      finished += 1;
      tell();
    }
  }));
  for (const card of cards) if (card.classList.contains("busy")) card.remove();
  at("paint-state").textContent = done ? say("painted", ((performance.now() - started) / 1000).toFixed(1)) : say("stopped");
}
