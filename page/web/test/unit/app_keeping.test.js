import assert from "node:assert/strict";
import test from "node:test";
import { load } from "../support/ts.js";

const { memoryStore } = await load("src/app/storage.ts");
const { KnownHosts, hostName } = await load("src/app/known_hosts.ts");
const { Profiles } = await load("src/app/profiles.ts");
const { seal, unseal } = await load("src/app/secrets.ts");

test("host keys are remembered once, and forgotten by host and port", () => {
  const store = memoryStore();
  const hosts = new KnownHosts(store);
  hosts.remember("a.example ssh-ed25519 AAAA");
  hosts.remember("a.example ssh-ed25519 AAAA\n");
  hosts.remember("[a.example]:2222,b.example ssh-ed25519 BBBB");
  hosts.remember("@cert-authority a.example ssh-ed25519 CCCC");
  assert.equal(hosts.text.split("\n").length, 4);
  assert.equal(hosts.forget("A.example", 22), 1);
  assert.equal(hosts.text, "[a.example]:2222,b.example ssh-ed25519 BBBB\n@cert-authority a.example ssh-ed25519 CCCC\n");
  hosts.forget("a.example", 2222);
  assert.match(hosts.text, /^b\.example ssh-ed25519 BBBB\n/);
  assert.equal(new KnownHosts(store).text, hosts.text);
  assert.equal(hostName("::1", 22), "::1");
});

test("a profile is kept without secrets, and with them sealed", async () => {
  const store = memoryStore();
  const profiles = new Profiles(store);
  const profile = { id: "1", name: "home", host: "h", port: 22, user: "u", auth: "password" };
  profiles.save({ ...profile, id: "2", name: "away" });
  await profiles.saveWithSecrets(profile, { password: "s3cret" }, "pass phrase");
  assert.deepEqual(profiles.list().map(({ name }) => name), ["away", "home"]);
  assert.ok(!store.get("profiles").includes("s3cret"));
  const [, kept] = profiles.list();
  assert.deepEqual(await profiles.secrets(kept, "pass phrase"), { password: "s3cret" });
  await assert.rejects(profiles.secrets(kept, "wrong"), /does not open/);
  profiles.remove("2");
  assert.equal(profiles.list().length, 1);
});

test("sealed secrets that were changed, or would take for ever, do not open", async () => {
  const sealed = await seal("x", "p", 1000);
  assert.equal(await unseal(sealed, "p"), "x");
  await assert.rejects(unseal({ ...sealed, data: btoa("0123456789abcdef0123") }, "p"));
  await assert.rejects(unseal({ ...sealed, rounds: 1e12 }, "p"));
});

test("what an older page or a person left in the store does no harm", () => {
  const store = memoryStore();
  store.set("profiles", "{");
  assert.deepEqual(new Profiles(store).list(), []);
  store.set("profiles", '[1,{"id":"x"}]');
  assert.deepEqual(new Profiles(store).list(), []);
});
