// A Vite dev server, and a browser that looks at it through a tunnel. Prints the
// server's port; on stdin comes the page's address from outside, and where its host is.
// Then it changes a file and waits until the page shows that without loading anew.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createServer } from "vite";
import { launch } from "./browser.js";

const root = process.argv[2];
const text = join(root, "text.js");
const page = `
import { text } from "./text.js";
const show = (text) => { document.body.textContent = text; };
show(text);
import.meta.hot.accept("./text.js", (module) => show(module.text));
`;
writeFileSync(join(root, "index.html"), `<!doctype html><title>x</title><body></body><script type="module" src="/main.js"></script>`);
writeFileSync(join(root, "main.js"), page);
writeFileSync(text, `export const text = "version 0";`);

const vite = await createServer({
  root,
  configFile: false,
  logLevel: "warn",
  cacheDir: join(root, ".vite"),
  server: { host: "127.0.0.1", port: 0, strictPort: false },
});
await vite.listen();
console.log(vite.httpServer.address().port);

const [line] = await new Promise((resolve) => createInterface({ input: process.stdin }).once("line", (l) => resolve([l])));
const [url, address] = line.split(" ");
const browser = await launch(address);
try {
  const tab = await browser.newPage();
  const errors = [];
  const sockets = [];
  tab.on("pageerror", (error) => errors.push(String(error)));
  tab.on("websocket", (socket) => sockets.push(socket.url()));
  await tab.goto(url);
  await shows(tab, "version 0");
  await tab.evaluate(() => { globalThis.marker = "the same page"; });
  await tab.waitForFunction(() => performance.getEntriesByType("resource").some((e) => e.name.includes("/@vite/client")));
  for (const version of [1, 2, 3]) {
    // On a busy machine the watcher of files misses one that changes twice in a moment.
    const write = () => writeFileSync(text, `export const text = "version ${version}";`);
    write();
    const again = setInterval(write, 3000);
    await shows(tab, `version ${version}`).finally(() => clearInterval(again));
  }
  const marker = await tab.evaluate(() => globalThis.marker);
  const outside = sockets.every((socket) => new URL(socket).host === new URL(url).host);
  console.log(JSON.stringify({ marker, errors, outside, sockets: sockets.length }));
} finally {
  await browser.close();
  await vite.close();
}
process.exit(0);

function shows(tab, text) {
  return tab.waitForFunction((text) => document.body.textContent === text, text, { timeout: 30_000 });
}
