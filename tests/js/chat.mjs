// Drives headless Chromium for tests/chat: one JSON command a line on standard input, one JSON answer a line on standard output.
//
//   {"id": 1, "page": "minji", "open": "minji", "context": {…}}           a new page in the named person's browser
//   {"id": 2, "page": "minji", "locator": "#text", "do": "fill", "with": ["hi"]}
//   {"id": 3, "page": "minji", "do": "reload", "with": []}
//   {"id": 4, "page": "minji", "do": "setOffline", "with": [true]}        (of the whole browser of that person)
//   {"id": 5, "close": "minji"}
//
// The answer is {"id", "value"} or {"id", "error"}. The browser closes when standard input does.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const PATIENCE = 15_000;
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const home = await mkdtemp(join(tmpdir(), "madang-chromium-"));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  headless: true,
  args: FLAGS,
  env: { ...process.env, HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home },
});
const people = new Map();
const pages = new Map();

async function open({ page: name, open: person, context: options = {} }) {
  if (!people.has(person)) {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(PATIENCE);
    people.set(person, context);
  }
  const page = await people.get(person).newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && page.problems.push(message.text()));
  pages.set(name, page);
}

async function close({ close: person }) {
  await people.get(person).close();
  people.delete(person);
}

async function perform(command) {
  if (command.open) return open(command);
  if (command.close) return close(command);
  const page = pages.get(command.page);
  if (command.do === "problems") return page.problems;
  const whole = command.do === "setOffline" ? page.context() : page;
  const target = command.locator ? page.locator(command.locator) : whole;
  const value = await target[command.do](...command.with);
  return Buffer.isBuffer(value) || typeof value?.url === "function" ? null : value;
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let answer;
  try {
    answer = { id: command.id, value: (await perform(command)) ?? null };
  } catch (error) {
    answer = { id: command.id, error: String(error.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
await rm(home, { recursive: true, force: true });
