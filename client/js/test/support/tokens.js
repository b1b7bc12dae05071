// An issuer of tokens, with its key set on the loopback interface.
import { createSign, generateKeyPairSync } from "node:crypto";
import http from "node:http";

/** @returns {Promise<{jwks: string, token: () => string}>} jwks is a URL; each token is another one */
export async function startIssuer(t) {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const keys = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k1", alg: "RS256", use: "sig" }] });
  const listener = http.createServer((_, response) => {
    response.setHeader("Content-Type", "application/json").end(keys);
  });
  await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
  t.after(() => listener.close());
  let serial = 0;
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const token = () => {
    const exp = Math.floor(Date.now() / 1000) + 600;
    const signed = `${part({ alg: "RS256", kid: "k1" })}.${part({ sub: "ada", exp, jti: String(serial++) })}`;
    return `${signed}.${createSign("RSA-SHA256").update(signed).sign(privateKey, "base64url")}`;
  };
  return { jwks: `http://127.0.0.1:${listener.address().port}/jwks.json`, token };
}
