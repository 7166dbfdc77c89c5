/** Writing: a poem of a form to a title, as a scroll that fills while it is written. */

import { chat } from "./api.js";
import { at, chips, drawn, notice, settings, Work } from "./page.js";
import { put, say } from "./words.js";

const TITLES = ["春夜", "登高", "江雪", "送友人", "山中", "秋思"];
const FORMS = { 五言绝句: "five_quatrain", 七言绝句: "seven_quatrain", 五言律诗: "five_regulated", 七言律诗: "seven_regulated", "": "free" };

let work;
let seed = 0;

export function start() {
  work = new Work(document.querySelector("#panel-write .stop"));
  at("poem-form").addEventListener("submit", (event) => { event.preventDefault(); write(); });
  at("another").addEventListener("click", () => write(seed + 1));
  addEventListener("resize", hint);
  chips("titles", TITLES, (text) => { at("title").value = text; write(); });
  for (const [form, name] of Object.entries(FORMS)) {
    const label = document.createElement("label");
    const choice = Object.assign(document.createElement("input"), { type: "radio", name: "form", value: form, checked: form === "五言绝句" });
    const text = document.createElement("span");
    text.dataset.i18n = name;
    text.textContent = say(name);
    label.append(choice, text);
    at("forms").append(label);
  }
}

async function write(next) {
  const title = at("title").value.trim();
  if (!title) return notice("need_title");
  const set = settings("temperature", "seed");
  if (!set) return undefined;
  seed = next ?? set.seed ?? drawn();
  const number = seed;
  const form = document.querySelector("input[name=form]:checked").value;
  const poem = at("poem");
  const head = Object.assign(document.createElement("b"), { textContent: title });
  poem.lang = "zh-CN";
  poem.replaceChildren(head);
  put(at("poem-about"));
  hint();
  const options = { task: "poem", form: form || undefined, temperature: set.temperature ?? 0.7, seed: number };
  const body = document.createTextNode("");
  poem.append(body);
  const { value: done } = await work.run((signal) => chat([{ role: "user", content: title }], options, signal, (text) => {
    body.data = `\n${lines(text)}`;
    hint();
  }));
  if (!done) return undefined;
  put(at("poem-about"), "poem_of", form || ["free"], number);
  at("another").disabled = false;
  return undefined;
}

/** Says that a poem which is wider than its sheet can be slid. */
function hint() {
  const more = at("poem").scrollWidth > at("poem").clientWidth;
  at("poem").classList.toggle("more", more);
  at("poem-more").hidden = !more;
}

/** A poem with a line break behind every mark. */
const lines = (text) => text.replace(/([，。！？；])\n?/g, "$1\n").trim();
