/** What the page says, in both languages, and which one it says it in. */

const WORDS = {
  zh: {
    skip: "跳到内容", two: "两样东西（拼成的图）", three: "三样东西（拼成的图）", car: "汽车", other_language: "English", switch_language: "Switch to English", switch_theme: "明暗切换", sections: "功能",
    look: "看图", write: "写诗", paint: "作画", gallery: "画廊", settings: "设置与速度", footer: "开放的 M6，在你自己的机器上运行。",
    interface: "接口", drop: "点这里选图，或拖进来", drop_more: "也可以直接粘贴", describe: "说说这张图", question: "问题",
    question_placeholder: "问一个关于图的问题", ask: "提问", examples: "例子", questions: "可以这样问", answers: "回答",
    match_label: "哪句话更像这张图？每行一句", match_placeholder: "红苹果\n蓝色的汽车", match: "比一比", poem_title: "题目",
    poem_placeholder: "春夜", poem_form: "体裁", write_poem: "写一首", another: "再来一首", stop: "停下", prompt: "画什么",
    prompt_placeholder: "左边是企鹅，右边是西瓜", paint_it: "开始画", nothing_kept: "这里还没有画。在“作画”里点“留下”，就会出现在这里；关掉页面就没有了。",
    temperature: "随意程度（0 最稳）", count: "一次画几张", guidance: "贴合题意的力度", seed: "种子", any_seed: "随机", key: "密钥（服务器要求时填）",
    vary: "换个种子", keep: "留下", kept: "已留下", look_at_it: "拿去问", download: "下载", forget: "拿走", picture_of: "画：{0}", card_of: "{0} · 种子 {1}",
    your_picture: "你选的图", painting: "正在画，第 {0} 张，共 {1} 张", painted: "画好了，用了 {0} 秒", stopped: "停下了。",
    speed: "首字 {0} 毫秒，每秒 {1} 个词元", seconds: "{0} 秒", described: "这张图是", matched: "哪句话更像",
    five_quatrain: "五言绝句", seven_quatrain: "七言绝句", five_regulated: "五言律诗", seven_regulated: "七言律诗", free: "不限",
    poem_of: "{0} · 种子 {1}", slide: "← 左右滑动，看完整首",
    cannot: "这个模型没有学过“{0}”。换一个学过的模型来启动服务器。", not_a_picture: "“{0}”不是图片。请选 PNG、JPEG、WebP 或 GIF。",
    too_large: "这张图太大了（{0} MB）。请选 {1} MB 以内的图。", no_server: "连不上服务器。看看它是否还在运行，再试一次。",
    key_missing: "服务器要密钥。请在下面“设置与速度”里填上。", key_wrong: "服务器不认这个密钥。请核对后，在下面“设置与速度”里重填。", busy: "排队的人多，{0} 秒后自动再试。", failed: "没有成功：{0}",
    need_lines: "至少写两句，每行一句。", need_title: "先写个题目。", need_prompt: "先写要画什么。",
    nothing_said: "模型没有话说。换个问法，或换一张图。",
    not_allowed: "“{0}”可以填 {1} 到 {2}，以 {3} 为一档。改好再试。",
    unreadable: "这张图读不出来。请换一张 PNG、JPEG、WebP、GIF 或 BMP。", many_pixels: "这张图的像素太多。请缩小再试。",
    large_file: "这张图的文件太大。请缩小再试。", large_request: "发送的内容太大。请换一张小些的图，或写短些。",
    long_text: "写得太长了（{0}，最多 {1}）。请写短些。", timeout: "花的时间超过了服务器允许的。请少要一些（少画几张、画小些），或过一会儿再试。",
    closing: "服务器正在关闭。等它重新启动，再试一次。",
  },
  en: {
    skip: "Skip to content", two: "Two things (a composed scene)", three: "Three things (a composed scene)", car: "Car", other_language: "中文", switch_language: "切换到中文", switch_theme: "Light or dark", sections: "Sections",
    look: "Look", write: "Write", paint: "Paint", gallery: "Gallery", settings: "Settings and speed",
    footer: "The open M6, on a machine of your own.", interface: "Interface", drop: "Choose a picture, or drop one here",
    drop_more: "Pasting works too", describe: "Describe it", question: "Question", question_placeholder: "Ask about the picture (in Chinese)",
    ask: "Ask", examples: "Examples", questions: "Questions to ask", answers: "Answers",
    match_label: "Which text fits the picture better? One a line, in Chinese", match_placeholder: "红苹果\n蓝色的汽车", match: "Compare",
    poem_title: "Title (in Chinese)", poem_placeholder: "春夜", poem_form: "Form", write_poem: "Write a poem", another: "Another one", stop: "Stop",
    prompt: "What to paint", prompt_placeholder: "左边是企鹅，右边是西瓜", paint_it: "Paint",
    nothing_kept: "Nothing here yet. Press “Keep” below a painting and it stands here until the page is closed.",
    temperature: "Freedom (0 is steadiest)", count: "Pictures at once", guidance: "Guidance by the prompt", seed: "Seed", any_seed: "any",
    key: "Key, if the server asks for one", vary: "Vary", keep: "Keep", kept: "Kept", look_at_it: "Ask about it", download: "Download",
    forget: "Remove", picture_of: "Painting: {0}", card_of: "{0} · seed {1}", your_picture: "Your picture", painting: "Painting {0} of {1}",
    painted: "Done in {0} s", stopped: "Stopped.", speed: "First word after {0} ms, {1} tokens a second", seconds: "{0} s",
    described: "The picture shows", matched: "Which fits better", five_quatrain: "Quatrain of fives", seven_quatrain: "Quatrain of sevens",
    five_regulated: "Eight lines of five", seven_regulated: "Eight lines of seven", free: "Any",
    poem_of: "{0} · seed {1}", slide: "← Slide sideways to see all of it",
    cannot: "This model has not learnt to “{0}”. Start the server with one that has.", not_a_picture: "“{0}” is no picture. Choose a PNG, JPEG, WebP or GIF.",
    too_large: "This picture is too large ({0} MB). Choose one of up to {1} MB.", no_server: "The server does not answer. See whether it still runs, then try again.",
    key_missing: "The server asks for a key. Give it under “Settings and speed” below.",
    key_wrong: "The key was not accepted. Check it, and give it again under “Settings and speed” below.", busy: "Many are waiting; trying again in {0} s.",
    failed: "That did not work: {0}", need_lines: "Give at least two texts, one a line.", need_title: "Give a title first.",
    need_prompt: "Say first what to paint.", nothing_said: "The model has nothing to say. Ask in another way, or about another picture.",
    not_allowed: "“{0}” has to be from {1} to {2}, in steps of {3}. Change it and try again.",
    unreadable: "This picture cannot be read. Choose another one: PNG, JPEG, WebP, GIF or BMP.",
    many_pixels: "This picture has too many pixels. Make it smaller and try again.",
    large_file: "The file of this picture is too large. Make it smaller and try again.",
    large_request: "What was sent is too large. Choose a smaller picture, or write less.",
    long_text: "This text is too long ({0}, at most {1}). Make it shorter.",
    timeout: "It took longer than the server allows. Ask for less (fewer or smaller pictures), or try again later.",
    closing: "The server is closing. Wait until it runs again, then try once more.",
  },
};

let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");

/** A text by its name, with {0}, {1} .. filled in; a value that is a list is a text again: its name and its values. */
export function say(name, ...values) {
  const filled = values.map((value) => (Array.isArray(value) ? say(...value) : value));
  return (WORDS[language][name] ?? name).replace(/\{(\d)\}/g, (_, index) => filled[index]);
}

/** Puts a text into an element, in whichever language is chosen from now on; no name empties it. */
export function put(element, name = "", ...values) {
  element.dataset.i18n = name;
  element.dataset.i18nValues = JSON.stringify(values);
  element.textContent = name && say(name, ...values);
}

/** The other language from now on; what stands on the page is said anew. */
export function switchLanguage() {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  translate(document);
}

/** Fills every element below `root` that names a text. */
export function translate(root) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const each of root.querySelectorAll("[data-i18n]")) put(each, each.dataset.i18n, ...JSON.parse(each.dataset.i18nValues ?? "[]"));
  for (const each of root.querySelectorAll("[data-i18n-placeholder]")) each.placeholder = say(each.dataset.i18nPlaceholder);
  for (const each of root.querySelectorAll("[data-i18n-alt]")) each.alt = say(each.dataset.i18nAlt, each.dataset.i18nOf);
  for (const each of root.querySelectorAll("[data-i18n-label]")) {
    each.setAttribute("aria-label", say(each.dataset.i18nLabel));
    each.title = each.tagName === "BUTTON" ? say(each.dataset.i18nLabel) : "";
  }
}
