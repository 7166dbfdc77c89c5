/** The page: sections as tabs, language, light and dark, and what the model can do. */

import { models } from "./api.js";
import * as look from "./look.js";
import { at, notice, told } from "./page.js";
import * as paint from "./paint.js";
import { say, switchLanguage, translate } from "./words.js";
import * as write from "./write.js";

const TABS = [...document.querySelectorAll("[role=tab]")];

function choose(tab) {
  for (const each of TABS) {
    const chosen = each === tab;
    each.setAttribute("aria-selected", chosen);
    each.tabIndex = chosen ? 0 : -1;
    at(each.getAttribute("aria-controls")).hidden = !chosen;
  }
  notice();
  history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
}

function startTabs() {
  for (const [index, tab] of TABS.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1 + TABS.length, Home: 0, End: TABS.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      TABS[to % TABS.length].focus();
      choose(TABS[to % TABS.length]);
    });
  }
  choose(TABS.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash) ?? TABS[0]);
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
      const why = Object.assign(document.createElement("p"), { className: "notice", textContent: say("cannot", say(section)) });
      Object.assign(why.dataset, { i18n: "cannot", i18nOf: section });
      at(section).replaceChildren(why);
      at(section).classList.remove("two");
    }
  } catch (error) {
    notice(told(error));
  }
}

startTheme();
translate(document);
at("language").addEventListener("click", switchLanguage);
look.start({ examples: { apple: "examples/1.png", cat: "examples/2.png", car: "examples/3.png" } });
write.start();
paint.start();
startTabs();
startModel();
at("key").addEventListener("change", () => { notice(); startModel(); });
