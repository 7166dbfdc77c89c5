/** The page: sections as tabs, language, light and dark, and what the model can do. */

import { models } from "./api.js";
import * as look from "./look.js";
import { at, notice, told } from "./page.js";
import * as paint from "./paint.js";
import { put, switchLanguage, translate } from "./words.js";
import * as write from "./write.js";

const TABS = [...document.querySelectorAll("[role=tab]")];
const EXAMPLES = {
  two: { url: "pictures/two.png", questions: ["左边是什么？", "右边是什么？", "西瓜在哪边？", "有几个企鹅？"] },
  three: { url: "pictures/three.png", questions: ["有几个草莓？", "有几个西瓜？"] },
  car: { url: "examples/3.png", questions: ["这是什么？", "主要是什么颜色？"] },
};

function choose(tab) {
  for (const each of TABS) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", chosen);
    each.tabIndex = chosen ? 0 : -1;
    at(each.getAttribute("aria-controls")).hidden = !chosen;
  }
  notice();
}

/** The name of a tab, which the address has behind #; no element has it as its id, or the browser would scroll there. */
const nameOf = (tab) => tab.id.replace("tab-", "");

function chooseByAddress() {
  choose(TABS.find((tab) => `#${nameOf(tab)}` === location.hash) ?? TABS[0]);
}

function press(tab) {
  choose(tab);
  history.replaceState(null, "", `#${nameOf(tab)}`);
}

function startTabs() {
  for (const [index, tab] of TABS.entries()) {
    tab.addEventListener("click", () => press(tab));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1 + TABS.length, Home: 0, End: TABS.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      TABS[to % TABS.length].focus();
      press(TABS[to % TABS.length]);
    });
  }
  addEventListener("hashchange", chooseByAddress);
  chooseByAddress();
}

function startTheme() {
  const dark = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = dark;
  at("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = now;
    localStorage.setItem("theme", now);
  });
}

async function startModel() {
  try {
    const model = await models();
    at("model").textContent = model.id;
    if (model.pixels) at("model").textContent += ` · ${model.pixels} px`;
    for (const [section, able] of Object.entries(model.able)) {
      if (able) continue;
      const why = Object.assign(document.createElement("p"), { className: "notice" });
      put(why, "cannot", [section]);
      const panel = at(`panel-${section}`) ?? at(section); // comparing is a part of a panel
      panel.replaceChildren(why);
      panel.classList.remove("two");
    }
  } catch (error) {
    notice(...told(error));
  }
}

startTheme();
translate(document);
at("language").addEventListener("click", switchLanguage);
look.start({ examples: EXAMPLES });
write.start();
paint.start();
startTabs();
startModel();
at("key").addEventListener("change", () => { notice(); startModel(); });
