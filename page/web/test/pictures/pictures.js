// The pictures of the documents, made anew in docs/images: `npm run pictures`.
// The host, its user and its files are made up, and so are the addresses.
import assert from "node:assert/strict";
import { chownSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { eventually } from "../../../../client/js/test/support/wait.js";
import { drawn, visit } from "../support/looks.js";

const images = fileURLToPath(new URL("../../../../docs/images", import.meta.url));
/** In bytes. More would make the documents slow to open. */
const largest = 120_000;
const size = { width: 1040, height: 520 };

test("terminal and files", async (t) => {
  const page = await host(t, { viewport: size, colorScheme: "dark" });
  await look(page);
  await save(page, "terminal");
  await page.tab.emulateMedia({ colorScheme: "light" });
  await page.button("Files").click();
  await page.tab.getByRole("button", { name: "shop", exact: true }).click();
  await page.tab.getByRole("button", { name: "server.py", exact: true }).waitFor();
  await page.tab.locator(".files input[type=file]").first().setInputFiles([
    { name: "prices.csv", mimeType: "text/csv", buffer: Buffer.from("book;12.50\n".repeat(700)) },
    { name: "cover.jpg", mimeType: "image/jpeg", buffer: Buffer.alloc(1_800_000, 7) },
  ]);
  await page.tab.locator(".transfer.done").nth(1).waitFor();
  await page.tab.getByRole("button", { name: "cover.jpg", exact: true }).waitFor();
  await save(page, "files");
});

test("a shared port", async (t) => {
  const page = await host(t, { viewport: { width: size.width, height: 690 } });
  const { tab } = page;
  const origin = http.createServer((request, response) => response.writeHead(request.url === "/old" ? 404 : 200).end("a shop"));
  await new Promise((resolve) => origin.listen(0, "127.0.0.1", resolve));
  t.after(() => origin.close().closeAllConnections());
  await page.type("ls -l\r");
  await page.sees("templates");
  await page.button("Share a port").click();
  await tab.locator(".shares input[type=number]").fill(String(origin.address().port));
  await page.button("Share").click();
  const address = tab.locator(".share a");
  await address.waitFor();
  const { host: name } = new URL(await address.getAttribute("href"));
  for (const path of ["/", "/style.css", "/api/books?page=1", "/old"]) {
    await new Promise((resolve, reject) => http.get({ host: "127.0.0.1", port: page.server.port, path, headers: { Host: name } },
      (response) => response.resume().on("end", resolve)).on("error", reject));
  }
  await eventually("the requests are counted", async () => await tab.locator(".counts dd").first().textContent() === "4");
  await tab.locator(".requests .status-4").waitFor();
  await save(page, "share");
});

test("a phone", async (t) => {
  const page = await host(t, { viewport: { width: 390, height: 590 }, hasTouch: true, isMobile: true, deviceScaleFactor: 1.4, colorScheme: "dark" });
  await look(page);
  await save(page, "phone");
});

/** Something to look at, with the prompt below it. */
async function look(page) {
  await page.type("ls -l\r");
  await page.sees("templates");
  await page.type("diff server.old server.py\r");
  await page.sees("+    Threading");
}

/** A shell on the host, at its prompt. */
async function host(t, context) {
  const page = await visit(t, {
    stored: drawn, context, sshd: { user: "demo", homeAt: "/srv" },
    server: { TUNNEL_DOMAIN: "tunnel.example.com", TUNNEL_PUBLIC_URL: "https://*.tunnel.example.com", TUNNEL_RAW_HOST: "proxy.example.com" },
  });
  const add = (name, text) => {
    const path = join(page.sshd.home, name);
    if (text === undefined) mkdirSync(path);
    else writeFileSync(path, text, { mode: name.endsWith(".sh") ? 0o755 : 0o644 });
    chownSync(path, 64_321, 64_321);
  };
  add(".hushlogin", "");
  add(".bash_profile", "PS1='\\[\\e]0;demo@host\\a\\e[1;32m\\]demo@host\\[\\e[0m\\]:\\[\\e[1;34m\\]\\w\\[\\e[0m\\]$ '\nalias ls='ls --color=always --time-style=+%H:%M'\nalias diff='diff --color=always -u --label before --label after'\ncd shop\n");
  for (const name of ["shop", "shop/images", "shop/templates"]) add(name);
  add("shop/README.md", "# A shop for books\n\npython3 server.py\n");
  add("shop/books.json", "[]\n".repeat(400));
  add("shop/deploy.sh", "#!/bin/sh\n");
  const server = (name) => `from http.server import ${name}

from shop import Shop

if __name__ == "__main__":
    ${name}(("", 3000), Shop).serve_forever()
`;
  add("shop/server.old", server("HTTPServer"));
  add("shop/server.py", server("ThreadingHTTPServer"));
  await page.login();
  await page.sees("shop$");
  return page;
}

async function save(page, name) {
  const path = join(images, `${name}.png`);
  await page.tab.waitForTimeout(4500); // notices have gone, and the cursor stands still
  await page.tab.screenshot({ path });
  assert.ok(statSync(path).size < largest, `${name}.png is too large`);
}
