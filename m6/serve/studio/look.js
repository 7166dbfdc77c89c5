/** Looking: a picture is dropped, pasted or chosen, and described, asked about and compared with texts. */

import { chat, match } from "./api.js";
import { at, chips, notice, Work } from "./page.js";
import { put, say } from "./words.js";

const QUESTIONS = ["这是什么？", "主要是什么颜色？", "左边是什么？", "右边是什么？"]; // that fit any picture
const LARGEST = 8; // MB that are sent

let image = "";
const work = new Work();

export function start({ examples }) {
  at("file").addEventListener("change", () => take(at("file").files[0]));
  const drop = at("drop");
  for (const name of ["dragover", "dragenter"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files[0]); });
  document.addEventListener("paste", (event) => take([...event.clipboardData.files][0]));

  at("describe").addEventListener("click", () => ask(""));
  at("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(at("question").value.trim()); });
  at("match").addEventListener("submit", (event) => { event.preventDefault(); compare(); });
  offer(QUESTIONS);
  at("look-examples").replaceChildren(...Object.entries(examples).map(example));
}

/** Shows a picture, given as a URL of its data, and lets it be asked about. */
export function show(url, questions = QUESTIONS) {
  image = url;
  offer(questions);
  at("picture").src = url;
  at("picture").dataset.i18nAlt = "your_picture";
  at("picture").alt = say("your_picture");
  at("picture").hidden = false;
  at("drop-hint").hidden = true;
  at("talk").replaceChildren();
  for (const each of document.querySelectorAll("#panel-look button[disabled]")) each.disabled = false;
}

function offer(questions) {
  chips("questions", questions, (text) => { at("question").value = text; if (image) ask(text); });
}

async function take(file, questions) {
  if (!file) return;
  if (!file.type.startsWith("image/")) return notice("not_a_picture", file.name);
  if (file.size > LARGEST * 2 ** 20) return notice("too_large", (file.size / 2 ** 20).toFixed(1), LARGEST);
  notice();
  document.getElementById("tab-look").click();
  show(await new Promise((resolve) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.readAsDataURL(file);
  }), questions);
}

function example([name, { url, questions }]) {
  const chip = document.createElement("button");
  const picture = document.createElement("img");
  chip.type = "button";
  picture.src = url;
  picture.alt = "";
  chip.append(picture);
  chip.dataset.i18nLabel = name;
  chip.setAttribute("aria-label", say(name));
  chip.addEventListener("click", async () => {
    const blob = await (await fetch(url)).blob();
    take(new File([blob], "example.png", { type: "image/png" }), questions);
  });
  return chip;
}

async function ask(question) {
  if (!image) return;
  const said = entry(question || ["described"]);
  const content = [{ type: "image_url", image_url: { url: image } }];
  if (question) content.push({ type: "text", text: question });
  const { value: answer } = await work.run((signal) => chat([{ role: "user", content }], { temperature: 0 }, signal, (text) => { said.textContent = text; }));
  if (answer === "") answerNothing(said);
  else if (!said.textContent) said.closest("li").remove();
}

async function compare() {
  const texts = at("texts").value.split("\n").map((line) => line.trim()).filter(Boolean);
  if (texts.length < 2) return notice("need_lines");
  const { value: scores } = await work.run((signal) => match(image, texts, signal));
  if (!scores) return;
  const highest = Math.max(...scores);
  const parts = scores.map((score) => Math.exp(score - highest));
  const sum = parts.reduce((one, other) => one + other);
  const bars = document.createElement("div");
  bars.className = "bars";
  for (const index of texts.keys()) {
    const row = document.createElement("div");
    const bar = Object.assign(document.createElement("progress"), { max: 1, value: parts[index] / sum });
    const share = `${Math.round((100 * parts[index]) / sum)} %`;
    bar.setAttribute("aria-label", texts[index]);
    row.append(span(texts[index]), span(share), bar);
    bars.append(row);
  }
  entry(["matched"]).replaceWith(bars);
}

function answerNothing(said) {
  said.className = "quiet";
  put(said, "nothing_said");
}

/** A new entry on top of the talk, of a question, or of a text by its name in a list; returns where the answer goes. */
function entry(asked) {
  const item = document.createElement("li");
  const said = Object.assign(document.createElement("div"), { className: "said", lang: "zh-CN" });
  const head = Object.assign(document.createElement("div"), { className: "asked" });
  if (Array.isArray(asked)) put(head, ...asked);
  else head.textContent = asked;
  item.append(head, said);
  at("talk").prepend(item);
  return said;
}

const span = (text) => Object.assign(document.createElement("span"), { textContent: text });
