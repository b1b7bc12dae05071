import assert from "node:assert/strict";
import { test } from "node:test";
import { plainAddress, relayAddress, tunnelAddress } from "../../src/address.js";

test("relays: every form of the server's address", () => {
  for (const [url, want] of [
    ["wss://proxy.example.com", "wss://proxy.example.com/relay"],
    ["https://proxy.example.com/", "wss://proxy.example.com/relay"],
    ["http://localhost:8080/relay", "ws://localhost:8080/relay"],
    ["ws://localhost:8080/relay/", "ws://localhost:8080/relay"],
    ["wss://example.com/proxy", "wss://example.com/proxy/relay"],
    ["wss://example.com/proxy/tunnel#x", "wss://example.com/proxy/relay"],
    [new URL("https://example.com/my-relay/"), "wss://example.com/my-relay/relay"],
  ]) {
    const address = relayAddress({ url, host: "ssh.example.com", port: 22 });
    assert.equal(address.href, `${want}?host=ssh.example.com&port=22`);
  }
});

test("relays: targets", () => {
  const url = "wss://p";
  assert.equal(relayAddress({ url, host: "2001:db8::1", port: "22" }).search, "?host=2001%3Adb8%3A%3A1&port=22");
  assert.equal(relayAddress({ url, cfDomain: "d.example.com", cfId: "i&i", cfSecret: "s" }).search,
    "?cf_domain=d.example.com&cf_id=i%26i&cf_secret=s");
  for (const options of [
    {}, { host: "h" }, { port: 22 }, { cfDomain: "d" }, { cfDomain: "d", cfId: "i" },
    { cfDomain: "d", cfId: "i", cfSecret: "s", host: "h", port: 22 },
  ]) {
    assert.throws(() => relayAddress({ url, ...options }), TypeError, JSON.stringify(options));
  }
});

test("addresses that are none", () => {
  for (const url of [undefined, "", "ftp://example.com", "example.com", "/relative without a page"]) {
    assert.throws(() => relayAddress({ url, host: "h", port: 1 }), TypeError, url);
  }
});

test("an address relative to the page", (t) => {
  globalThis.location = { href: "https://app.example.com/a/b.html" };
  t.after(() => { delete globalThis.location; });
  assert.equal(tunnelAddress({ url: "/" }).href, "wss://app.example.com/tunnel?control=text&flow=credit&http=bytes");
  assert.equal(tunnelAddress({ url: "../proxy/" }).href, "wss://app.example.com/proxy/tunnel?control=text&flow=credit&http=bytes");
});

test("the same for a plain request", () => {
  assert.equal(plainAddress(tunnelAddress({ url: "wss://p/" })).href, "https://p/tunnel?control=text&flow=credit&http=bytes");
  assert.equal(plainAddress(tunnelAddress({ url: "http://p:8080" })).href, "http://p:8080/tunnel?control=text&flow=credit&http=bytes");
});

test("what else a tunnel asks for", () => {
  const { search } = tunnelAddress({ url: "wss://p", host: "localhost:5173", name: "my-site", raw: false });
  assert.equal(search, "?control=text&flow=credit&http=bytes&host=localhost%3A5173&name=my-site&raw=off");
});
