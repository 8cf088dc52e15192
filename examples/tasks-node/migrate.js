// Applies the migrations that the database doesn't have yet: one statement in each file.
import { readdir, readFile } from "node:fs/promises";
import mysql from "mysql2/promise";

const folder = new URL("./migrations/", import.meta.url);
const database = await mysql.createConnection(process.env.DATABASE_URL);
await database.query("CREATE TABLE IF NOT EXISTS migrations (name VARCHAR(100) PRIMARY KEY)");
const [rows] = await database.query("SELECT name FROM migrations");
const known = new Set(rows.map((row) => row.name));
for (const name of (await readdir(folder)).sort()) {
  if (known.has(name)) continue;
  await database.query(await readFile(new URL(name, folder), "utf8"));
  await database.query("INSERT INTO migrations VALUES (?)", [name]);
  console.log(`applied ${name}`);
}
await database.end();
