// The web terminal in a browser, as somebody uses it whom `make demo` has given an
// address and a password: the link fills the form, the host's key is compared, and
// what is typed is run. Arguments: the address, the password, the fingerprint, and
// what to type. Prints what was seen of it, as JSON, when the shell has ended.
import { launch } from "./browser.js";

const [address, password, fingerprint, typed] = process.argv.slice(2);
const browser = await launch();
const seen = { filled: "", connectedByItself: false, errors: [], violations: [], outside: [], failed: [] };
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(90_000); // the machine may be busy
  const { origin } = new URL(address);
  // Those of the worker, too.
  context.on("request", (request) => {
    if (new URL(request.url()).origin !== origin && !request.url().startsWith("data:")) seen.outside.push(request.url());
  });
  context.on("response", (response) => {
    if (response.status() >= 400) seen.failed.push(`${response.status()} ${response.url()}`);
  });
  context.on("console", (message) => {
    if (/Content.Security.Policy/i.test(message.text())) seen.violations.push(message.text());
    else if (message.type() === "error") seen.errors.push(message.text());
  });
  context.on("weberror", (error) => seen.errors.push(String(error.error())));
  const page = await context.newPage();
  await page.addInitScript(() => {
    localStorage["wsproxy.settings"] ??= JSON.stringify({ webgl: false }); // so that the screen can be read
    document.addEventListener("securitypolicyviolation", (event) => console.error(`Content-Security-Policy: ${event.violatedDirective} ${event.blockedURI}`));
  });
  await page.goto(address);
  await page.waitForFunction(() => document.querySelector("input[name=host]")?.value);
  seen.filled = await page.evaluate(() => ["user", "host", "port", "password"].map((name) => document.querySelector(`input[name=${name}]`).value).join(" "));
  seen.connectedByItself = await page.getByText("Is this the right host?").isVisible();
  await page.locator("input[name=password]").fill(password);
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await page.getByText(fingerprint).waitFor();
  await page.getByRole("button", { name: "Yes, connect" }).click();
  await page.waitForFunction(() => /[#$] *$/m.test([...document.querySelectorAll(".xterm-rows > div")].map((row) => row.textContent.trimEnd()).join("\n").trim()));
  await page.keyboard.type(`${typed}\n`);
  await page.getByText("The shell has ended").waitFor();
  seen.address = page.url();
} catch (error) {
  seen.errors.push(String(error));
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
