// A list of tasks: GET / shows it, POST / adds one.
import { createServer } from "node:http";
import mysql from "mysql2/promise";

const pool = mysql.createPool(process.env.DATABASE_URL);
const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

async function body(request) {
  let text = "";
  for await (const chunk of request) {
    text += chunk;
    if (text.length > 10_000) throw new Error("too long");
  }
  return new URLSearchParams(text);
}

async function page() {
  const [tasks] = await pool.query("SELECT title FROM tasks ORDER BY id");
  const items = tasks.map((task) => `<li>${escaped(task.title)}</li>`).join("") || "<li>Nothing to do.</li>";
  return `<!doctype html><meta charset="utf-8"><title>Tasks</title><h1>Tasks</h1><ul>${items}</ul>
<form method="post"><input name="title" required><button>Add</button></form>`;
}

async function answer(request, response) {
  const path = new URL(request.url, "http://localhost").pathname;
  if (path === "/healthz") {
    await pool.query("SELECT 1 FROM tasks LIMIT 1");
    response.end("fine");
  } else if (path !== "/") {
    response.writeHead(404).end("There is no such page.");
  } else if (request.method === "POST") {
    await pool.query("INSERT INTO tasks (title) VALUES (?)", [((await body(request)).get("title") ?? "").slice(0, 200)]);
    response.writeHead(303, { location: "/" }).end();
  } else {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(await page());
  }
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end("It failed.");
  });
});
server.listen(process.env.PORT ?? 3000);
process.on("SIGTERM", () => server.close(() => process.exit(0)));
