// An application that has the web terminal in a frame, in a browser. Prints its own
// port; on stdin comes, as JSON, the document of the application, and where the
// terminal is. The application is asked for at two names, one of which may have the
// terminal. Prints what came of each.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { launch } from "./browser.js";

let document = "";
const application = createServer((_, response) => response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(document));
await new Promise((resolve) => application.listen(0, "127.0.0.1", resolve));
const { port } = application.address();
console.log(port);

const line = await new Promise((resolve) => createInterface({ input: process.stdin }).once("line", resolve));
const { html, terminal } = JSON.parse(line);
document = html;
const browser = await launch();
const seen = {};
try {
  for (const [name, host] of [["allowed", "127.0.0.1"], ["other", "localhost"]]) {
    const context = await browser.newContext();
    context.setDefaultTimeout(90_000); // the machine may be busy
    const page = await context.newPage();
    const messages = [];
    page.on("console", (message) => messages.push(message.text()));
    await page.goto(`http://${host}:${port}/`);
    if (name === "other") {
      const refused = () => messages.find((text) => text.includes("frame-ancestors"));
      for (const until = Date.now() + 90_000; !refused() && Date.now() < until;) await page.evaluate(() => new Promise(requestAnimationFrame));
      seen[name] = refused() ?? "it is not refused";
    } else {
      const frame = page.frameLocator("#terminal");
      await frame.getByRole("button", { name: "Connect", exact: true }).click();
      // Nobody is asked for the token, and the target, which speaks no SSH, is reached.
      await frame.getByRole("button", { name: "Connect again" }).or(frame.getByText("asks for a token")).first().waitFor();
      seen[name] = await frame.getByText("asks for a token").isVisible() ? "a person is asked for the token" : "reached";
      seen.frame = page.frames()[1].url();
    }
    await context.close();
  }
} catch (error) {
  seen.error = String(error);
} finally {
  await browser.close();
  application.close();
}
seen.terminal = terminal;
console.log(JSON.stringify(seen));
