// A log on a page: its colours, its search, and server-sent events that follow it. Text is inserted as text, never as
// HTML. The number of lines is bounded, so that a log of any length costs the browser little.

const MAX_LINES = 5_000;
const MAX_LINE = 4_000; // characters; the download has all of them
const MAX_REST = 16_384;
const NEAR = 40;
const RECONNECT = 3_000; // milliseconds, as browsers wait
// The codes of colours in "ESC [ … m" (ECMA-48, 8.3.117); other control sequences are left out.
const ESCAPES = /\u001b(?:\[([0-9;?]*)([@-~])|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|.)/g;

function isAtEnd(element) {
  return element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
}

function styled(style, codes) {
  for (const code of (codes || "0").split(";").map(Number)) {
    if (code === 0) style = { bold: false, colour: null };
    else if (code === 1 || code === 22) style = { ...style, bold: code === 1 };
    else if (code === 39) style = { ...style, colour: null };
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) style = { ...style, colour: code % 10 };
  }
  return style;
}

export class LogView {
  constructor(section) {
    this.section = section;
    this.pre = section.querySelector("pre");
    this.search = section.querySelector(".log-search");
    this.found = section.querySelector(".log-found");
    this.rest = "";
    this.style = { bold: false, colour: null };
    this.source = null;
    this.position = "";
    const text = this.pre.textContent;
    this.clear();
    if (text) this.add(`${text}\n`);
    this.pre.scrollTop = this.pre.scrollHeight;
    this.search?.addEventListener("input", () => this.filter());
  }

  clear() {
    this.pre.replaceChildren();
    this.rest = "";
    this.style = { bold: false, colour: null };
  }

  add(text) {
    const atEnd = isAtEnd(this.pre);
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop();
    if (this.rest.length > MAX_REST) {
      lines.push(this.rest);
      this.rest = "";
    }
    const fragment = document.createDocumentFragment();
    for (const line of lines.slice(-MAX_LINES)) fragment.append(this.line(line));
    this.pre.append(fragment);
    while (this.pre.childElementCount > MAX_LINES) this.pre.firstElementChild.remove();
    if (this.search?.value) this.filter();
    if (atEnd) this.pre.scrollTop = this.pre.scrollHeight;
  }

  line(text) {
    const line = document.createElement("span");
    line.className = "line";
    // A carriage return overwrites what was before it, as in a terminal.
    const shown = text.slice(0, MAX_LINE).replace(/\r+$/, "").split("\r").pop();
    let from = 0;
    for (const match of shown.matchAll(ESCAPES)) {
      this.append(line, shown.slice(from, match.index));
      from = match.index + match[0].length;
      if (match[2] === "m") this.style = styled(this.style, match[1]);
    }
    this.append(line, shown.slice(from));
    line.append("\n");
    return line;
  }

  append(line, text) {
    if (!text) return;
    const { bold, colour } = this.style;
    if (!bold && colour === null) return line.append(text);
    const span = document.createElement("span");
    span.className = `${bold ? "ansi-bold " : ""}${colour === null ? "" : `ansi-${colour}`}`.trim();
    span.textContent = text;
    line.append(span);
  }

  filter() {
    const wanted = this.search.value.toLowerCase();
    let count = 0;
    for (const line of this.pre.children) {
      line.hidden = wanted !== "" && !line.textContent.toLowerCase().includes(wanted);
      if (!line.hidden) count += 1;
    }
    this.found.textContent = wanted ? `${count} ${count === 1 ? "line" : "lines"}` : "";
  }

  // Follows the log until it ends. After an interruption the browser connects again by itself and sends the id of the last
  // event, so no line is lost or shown twice; "begin" says that the log comes from its beginning, "gap" that lines are missing.
  follow(ended = () => {}) {
    this.stop();
    this.ended = ended;
    this.position = "";
    this.open();
  }

  open() {
    const address = new URL(this.section.dataset.events, location.href);
    if (this.position) address.searchParams.set("after", this.position);
    const source = new EventSource(address);
    this.source = source;
    const on = (name, act) => source.addEventListener(name, (event) => {
      this.position = event.lastEventId || this.position;
      act(event);
    });
    source.addEventListener("open", () => this.say(""));
    on("begin", () => this.clear());
    on("lines", (event) => this.add(JSON.parse(event.data)));
    on("gap", (event) => this.add(`${this.rest ? "\n" : ""}${JSON.parse(event.data)}`));
    on("end", () => this.end(""));
    source.addEventListener("error", () => {
      if (source !== this.source) return;
      this.say("The connection is interrupted. It is opened again…");
      if (source.readyState === EventSource.CLOSED) this.recover(source);
    });
  }

  // The browser doesn't connect again after an answer that isn't a stream, such as a proxy's while Stager is restarted, or a
  // refusal, and doesn't tell its reason.
  async recover(source) {
    const reading = new AbortController();
    let refusal = "";
    try {
      const response = await fetch(source.url, { signal: reading.signal });
      if (response.status === 401) refusal = "Sign in again to follow this log.";
      else if (response.status >= 400 && response.status < 500) refusal = await response.text();
    } catch {
      // The server is unavailable.
    }
    reading.abort();
    if (source !== this.source) return;
    if (refusal) this.end(refusal);
    else setTimeout(() => { if (source === this.source) this.open(); }, RECONNECT);
  }

  end(text) {
    this.stop();
    this.say(text);
    this.ended();
  }

  say(text) {
    const state = this.section.querySelector(".log-state");
    if (state && state.textContent !== text) state.textContent = text;
  }

  stop() {
    if (this.rest) this.add("\n");
    this.source?.close();
    this.source = null;
  }

  get isFollowing() {
    return Boolean(this.source);
  }

  // Whether replacing the log would disturb somebody who reads it.
  get isInUse() {
    return this.isFollowing || Boolean(this.search?.value) || this.section.contains(document.activeElement);
  }
}
