import { createServer } from "node:http";
import { page } from "./page.js";
import { palette } from "./palette.js";

const port = Number(process.env.PORT ?? 3000);

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const word = (url.searchParams.get("word") || process.env.STAGER_REF || "marmalade").slice(0, 60);
  const say = (status, kind, text) => response.writeHead(status, { "content-type": `${kind}; charset=utf-8` }).end(text);
  if (url.pathname === "/healthz") say(200, "text/plain", "fine");
  else if (url.pathname === "/api/palette") say(200, "application/json", JSON.stringify({ word, colours: palette(word) }));
  else if (url.pathname === "/") say(200, "text/html", page(word, palette(word)));
  else say(404, "text/plain", "There is no such page.");
});

server.listen(port, "0.0.0.0", () => console.log(`listening on ${port}`));
// Let what is open finish when the preview is replaced.
process.on("SIGTERM", () => server.close(() => process.exit(0)));
