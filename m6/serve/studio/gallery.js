/** Paintings as cards, and those that were kept for as long as the page is open. */

import * as look from "./look.js";
import { at } from "./page.js";
import { put, translate } from "./words.js";

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"; // no sign of a missing picture

/** A card to come for a prompt and a seed; `again(seed)` paints with another seed. */
export function card(prompt, seed, again) {
  const made = document.getElementById("card").content.firstElementChild.cloneNode(true);
  made.dataset.seed = seed;
  made.dataset.prompt = prompt;
  Object.assign(made.querySelector("img").dataset, { i18nAlt: "picture_of", i18nOf: prompt });
  made.querySelector("img").src = EMPTY;
  put(made.querySelector(".quiet"), "card_of", prompt, seed);
  translate(made);
  made.querySelector(".vary").addEventListener("click", () => again(seed + 100));
  for (const each of made.querySelectorAll("button, a")) each.hidden = true;
  return made;
}

/** The picture of a card is whole: it can be used. */
export function finish(made, url) {
  made.classList.remove("busy");
  for (const each of made.querySelectorAll("button, a")) each.hidden = false;
  const download = made.querySelector(".download");
  download.href = url;
  download.download = `${made.dataset.prompt.slice(0, 20)}-${made.dataset.seed}.png`;
  made.querySelector(".ask").addEventListener("click", () => { look.show(url); at("tab-look").click(); });
  made.querySelector(".keep").addEventListener("click", (event) => {
    event.target.disabled = true;
    put(event.target, "kept");
    keep(made, url);
  });
}

function keep(made, url) {
  const kept = made.cloneNode(true);
  kept.querySelector(".vary").remove();
  const forget = kept.querySelector(".keep");
  forget.disabled = false;
  put(forget, "forget");
  forget.addEventListener("click", () => { kept.remove(); count(); });
  kept.querySelector(".ask").addEventListener("click", () => { look.show(url); at("tab-look").click(); });
  at("kept-pictures").append(kept);
  count();
}

function count() {
  const number = at("kept-pictures").children.length;
  at("kept").textContent = number || "";
  at("nothing").hidden = number > 0;
}
