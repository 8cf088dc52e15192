// Keeps the list of previews up to date: follows the stream of changes, searches while the user types, and sends the
// actions without leaving the page. Without this script, the page works by reloading.

import { showTimes } from "./frame.js";

const RETRY = [1_000, 2_000, 5_000, 10_000];
const SILENCE = 30_000;
const TYPING = 200;
const MACHINE_EVERY = 10_000;

const list = document.getElementById("previews");
const news = document.getElementById("news");
const connection = document.getElementById("connection");
const search = document.querySelector("header input[name=q]");

let stream = null;
let run = 0; // counts the starts of `follow`; only the latest one goes on
let searching = null;

function tell(text) {
  connection.textContent = text;
  connection.hidden = !text;
}

// The list

const ORDERS = {
  age: () => 0,
  visit: (a, b) => (b.dataset.visited > a.dataset.visited) - (b.dataset.visited < a.dataset.visited),
  name: (a, b) => a.dataset.name.toLowerCase().localeCompare(b.dataset.name.toLowerCase()),
  state: (a, b) => a.dataset.rank - b.dataset.rank,
  memory: (a, b) => b.dataset.memory - a.dataset.memory,
};

function isShown(item) {
  const { show, viewer } = list.dataset;
  if (show === "mine") return item.dataset.author !== "" && item.dataset.author === viewer;
  return !show || item.dataset.groups.split(" ").includes(show);
}

function matches(item) {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  return isShown(item) && words.every((word) => item.dataset.words.includes(word));
}

function isBefore(item, other) {
  const order = (ORDERS[list.dataset.sort] ?? ORDERS.age)(item, other);
  return order < 0 || (order === 0 && item.dataset.created > other.dataset.created);
}

function place(item) {
  const after = [...list.children].find((other) => other !== item && isBefore(item, other));
  list.insertBefore(item, after ?? null);
  if (list.children.length > Number(list.dataset.limit)) list.lastElementChild.remove();
}

// A changed item keeps its open menus and the focus.
function replace(old, item) {
  const opened = [...old.querySelectorAll("details")].map((details) => details.open);
  item.querySelectorAll("details").forEach((details, i) => { details.open = opened[i] ?? false; });
  const focusable = (element) => [...element.querySelectorAll("a, button, summary")];
  const focus = focusable(old).indexOf(document.activeElement);
  old.replaceWith(item);
  // A sorted item moves only while nobody uses it, so that nothing jumps away under the pointer.
  const isUsed = focus >= 0 || item.matches(":hover") || opened.includes(true);
  if (list.dataset.sort !== "age" && !isUsed) place(item);
  if (focus >= 0) (focusable(item)[focus] ?? focusable(item)[0]).focus();
}

function count() {
  const shown = list.children.length;
  document.getElementById("none").hidden = shown > 0;
  if (shown < Number(list.dataset.limit)) {
    const isAll = !search.value.trim() && !list.dataset.show;
    document.getElementById("count").textContent = shown ? `${shown}${isAll ? "" : " found"}` : "";
  }
}

function showNumbers(numbers) {
  for (const link of document.querySelectorAll("#filters a")) {
    link.querySelector(".number").textContent = numbers[link.dataset.group || "all"];
  }
}

function size(megabytes) {
  if (megabytes >= 1_048_576) return `${(megabytes / 1_048_576).toFixed(1)} TB`;
  return megabytes >= 1_024 ? `${(megabytes / 1_024).toFixed(1)} GB` : `${megabytes} MB`;
}

function showFigures(figures) {
  for (const [id, [megabytes, percent]] of Object.entries(figures)) {
    const item = document.getElementById(`preview-${id}`);
    if (!item) continue;
    item.dataset.memory = megabytes;
    item.querySelector(".usage").textContent = percent < 0 ? size(megabytes) : `${size(megabytes)} · ${percent} % CPU`;
  }
}

function show(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // rendered and escaped by the server, as in the page
  const item = template.content.firstElementChild;
  const old = document.getElementById(item.id);
  showTimes(item);
  if (!matches(item)) old?.remove();
  else if (old) replace(old, item);
  else place(item);
  return matches(item) && old?.dataset.state !== item.dataset.state ? `${item.dataset.name}: ${item.dataset.state}` : "";
}

function remove(id) {
  const old = document.getElementById(`preview-${id}`);
  old?.remove();
  return old ? `${old.dataset.name}: removed` : "";
}

// The stream (server-sent events). It is read with fetch, because EventSource hides the status of a response.

function announce(texts) {
  const told = texts.filter(Boolean);
  if (told.length) news.textContent = told.length > 3 ? `${told.length} previews have changed` : told.join(". ");
}

async function handle(events) {
  const told = [];
  for (const { kind, id, data } of events) {
    if (kind === "preview") told.push(show(data));
    else if (kind === "removed") told.push(remove(data));
    else if (kind === "numbers") showNumbers(JSON.parse(data));
    else if (kind === "figures") showFigures(JSON.parse(data));
    else if (kind === "reload") await load();
    if (kind === "end") return;
    if (id && kind !== "reload") list.dataset.position = id;
  }
  count();
  announce(told);
}

function parse(block) {
  const event = { kind: "", id: "", data: [] };
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) event.kind = line.slice(7);
    else if (line.startsWith("id: ")) event.id = line.slice(4);
    else if (line.startsWith("data: ")) event.data.push(line.slice(6));
  }
  return { ...event, data: event.data.join("\n") };
}

async function read(response, controller) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const timer = setTimeout(() => controller.abort(), SILENCE);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    await handle(blocks.map(parse).filter((event) => event.kind));
  }
}

async function follow() {
  run += 1;
  const mine = run;
  for (let failures = 0; mine === run;) {
    const controller = new AbortController();
    stream = controller;
    let wait = RETRY[Math.min(failures, RETRY.length - 1)];
    try {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": list.dataset.position };
      const response = await fetch(list.dataset.events, { headers, cache: "no-store", signal: controller.signal });
      if (response.status === 401) return ended();
      if (response.status === 429) { tell(await response.text()); wait = 60_000; }
      if (response.ok) { tell(""); failures = 0; wait = RETRY[0]; await read(response, controller); }
    } catch {
      // The server is unavailable, or the page was hidden.
    }
    if (mine !== run) return;
    if (++failures > 1 && !connection.textContent) tell("Reconnecting…");
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

function ended() {
  const link = document.createElement("a");
  link.href = `/login?to=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = "Sign in again";
  tell("Your session has ended. ");
  connection.append(link);
}

// Search and reload

async function load() {
  searching?.abort();
  const controller = new AbortController();
  searching = controller;
  const query = search.value.trim();
  const given = new URLSearchParams(location.search);
  given.delete("limit");
  if (query) given.set("q", query);
  else given.delete("q");
  const url = given.size ? `/?${given.toString().replaceAll("+", "%20")}` : "/";
  const response = await fetch(url, { cache: "no-store", signal: controller.signal });
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const items = fresh.getElementById("previews");
  if (!response.ok || !items) return ended();
  history.replaceState(null, "", url);
  list.replaceChildren(...items.children);
  showTimes(list);
  list.dataset.position = items.dataset.position;
  document.querySelector("#actions input[name=to]").value = fresh.querySelector("#actions input[name=to]").value;
  for (const name of ["limit", "show", "sort"]) list.dataset[name] = items.dataset[name];
  for (const id of ["count", "none", "more", "filters", "order"]) document.getElementById(id).replaceWith(fresh.getElementById(id));
}

let typing = 0;
search.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => load().then(() => {
    news.textContent = list.children.length === 1 ? "1 preview found" : `${list.children.length} previews found`;
  }).catch(() => {}), TYPING);
});
search.form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(typing);
  load().catch(() => {});
});

// Actions

document.getElementById("actions").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  if (!button || button.disabled) return;
  button.disabled = true;
  try {
    const body = new URLSearchParams(new FormData(event.target, button));
    const response = await fetch(button.formAction, { method: "POST", body, headers: { Accept: "text/html" }, redirect: "manual" });
    if (response.type === "opaqueredirect") {
      tell("");
      news.textContent = `${button.textContent.trim()}: requested`;
      // The button may be gone: its item was replaced by the change that it made.
      for (const menu of list.querySelectorAll(".menu[open]")) menu.open = false;
    } else {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      tell([...page.querySelectorAll(".problem [data-told]")].map((part) => part.textContent.trim()).join(" "));
    }
  } catch {
    tell("The server doesn't respond. Try again.");
  }
  button.disabled = false;
});

// Sorting without the button

document.addEventListener("change", (event) => {
  if (event.target.matches("#order select")) event.target.form.requestSubmit();
});

// The machine

const machine = document.querySelector(".machine");

async function renewMachine() {
  const response = await fetch(machine.dataset.url, { cache: "no-store" });
  if (response.ok) document.getElementById("machine").innerHTML = await response.text(); // rendered by the server
}

if (machine?.dataset.url) {
  setInterval(() => { if (machine.open && !document.hidden) renewMachine().catch(() => {}); }, MACHINE_EVERY);
}

// A hidden page doesn't hold a connection: browsers open six to a host over HTTP/1.1.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    run += 1;
    stream?.abort();
  } else follow();
});
follow();
