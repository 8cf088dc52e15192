// What every page has: relative times, copy buttons, menus that close, and a key for the search.

const AGE_EVERY = 30_000;
const COPIED = 2_000;
const UNITS = [[86_400, "d"], [3_600, "h"], [60, "min"]];

document.documentElement.classList.add("scripted");

// Ages in their largest unit, as the server renders them
export function age(seconds) {
  const unit = UNITS.find(([length]) => seconds >= length);
  return unit ? `${Math.floor(seconds / unit[0])} ${unit[1]}` : "now";
}

function relative(seconds, kind) {
  const text = age(Math.abs(seconds));
  if (kind === "age") return text;
  if (text === "now") return seconds < 0 ? "in a moment" : "just now";
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

export function showTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-relative]")) {
    const text = relative((Date.now() - Date.parse(time.dateTime)) / 1_000, time.dataset.relative);
    if (time.textContent !== text) time.textContent = text;
  }
}

async function copy(button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    // Without HTTPS, browsers have no clipboard for pages: select the text instead.
    const field = document.createElement("textarea");
    field.value = button.dataset.copy;
    field.className = "unseen";
    button.after(field);
    field.select();
    button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
    if (button.textContent === "Copied") field.remove();
    else setTimeout(() => field.remove(), COPIED * 5);
    if (button.textContent === "Copied") button.focus();
  }
  setTimeout(() => { button.textContent = before; }, COPIED);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  }
  const isWriting = event.target.closest?.("input, select, textarea, [contenteditable]");
  if (event.key !== "/" || isWriting || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  document.querySelector("header input[type=search]")?.focus();
});

// A form that says so is sent once, also by a double click.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || !event.target.matches("form[data-once]")) return;
  if (event.target.dataset.once === "sent") event.preventDefault();
  event.target.dataset.once = "sent";
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-once=sent]")) form.dataset.once = "";
});

showTimes();
setInterval(showTimes, AGE_EVERY, document);
