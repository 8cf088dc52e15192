// Waits for a page: follows `data-next` of main once that page is there, which a restart of the control plane delays, or
// renews the content of this page until its script is no longer part of it. Without this script, the page reloads itself.

const EVERY = 3_000;

const main = document.querySelector("main");

async function look() {
  const { next } = main.dataset;
  const response = await fetch(next ?? location.href, { cache: "no-store" });
  if (!response.ok) return true;
  if (next) {
    location.assign(next);
    return false;
  }
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const content = fresh.querySelector("main");
  if (content.innerHTML !== main.innerHTML) {
    main.replaceChildren(...content.childNodes);
    document.body.className = fresh.body.className;
    document.title = fresh.title;
  }
  return fresh.querySelector("script[src$='waiting.js']") !== null;
}

async function wait() {
  const isWaiting = await look().catch(() => true); // the server is away
  if (isWaiting) setTimeout(wait, EVERY);
}

setTimeout(wait, EVERY);
