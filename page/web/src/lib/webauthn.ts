/**
 * Keys inside security keys and devices, by WebAuthn. OpenSSH takes them as
 * sk-ecdsa-sha2-nistp256@openssh.com, from version 8.4 on with its signatures by
 * browsers (webauthn-sk-ecdsa-sha2-nistp256@openssh.com, to be allowed by
 * PubkeyAcceptedAlgorithms).
 */
import { SSHError, type Bytes, type SecurityKey, type WebAuthnAnswer, type WebAuthnQuestion } from "./types.ts";

const keyType = "sk-ecdsa-sha2-nistp256@openssh.com";
const es256 = -7;

/** Whether this browser has it, on this page. */
export function hasWebAuthn(): boolean {
  return typeof PublicKeyCredential === "function" && globalThis.isSecureContext;
}

/** Makes a new key in a security key, and tells its public half. It is good for pages of this host only. */
export async function createSecurityKey({ name }: { name: string }): Promise<SecurityKey> {
  const application = globalThis.location.hostname;
  const credential = await ask(navigator.credentials.create({
    publicKey: {
      rp: { id: application, name: "SSH" },
      user: { id: crypto.getRandomValues(new Uint8Array(16)), name, displayName: name },
      challenge: crypto.getRandomValues(new Uint8Array(32)),
      pubKeyCredParams: [{ type: "public-key", alg: es256 }],
      authenticatorSelection: { userVerification: "discouraged", residentKey: "discouraged" },
      attestation: "none",
    },
  }));
  const spki = (credential.response as AuthenticatorAttestationResponse).getPublicKey();
  if (!spki) throw new SSHError("The security key has made a key of another kind than SSH can use.", "failed");
  // The point is the end of a P-256 key in this format.
  const point = new Uint8Array(spki).slice(-65);
  if (point[0] !== 4) throw new SSHError("The security key has made a key of another kind than SSH can use.", "failed");
  const blob = concatenate([text(keyType), text("nistp256"), sized(point), text(application)]);
  return { publicKey: `${keyType} ${toBase64(blob)} ${name}`, application, credentialId: toBase64Url(new Uint8Array(credential.rawId)) };
}

/** Has a security key sign, which the person touches. */
export async function signWebAuthn({ application, credentialId, challenge }: WebAuthnQuestion): Promise<WebAuthnAnswer> {
  const credential = await ask(navigator.credentials.get({
    publicKey: {
      rpId: application,
      challenge,
      allowCredentials: [{ type: "public-key", id: fromBase64Url(credentialId) }],
      userVerification: "discouraged",
    },
  }));
  const { authenticatorData, clientDataJSON, signature } = credential.response as AuthenticatorAssertionResponse;
  const bytes = (buffer: ArrayBuffer): Bytes => new Uint8Array(buffer);
  return { authenticatorData: bytes(authenticatorData), clientDataJSON: bytes(clientDataJSON), signature: bytes(signature) };
}

async function ask(credential: Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const got = await credential;
    if (got) return got as PublicKeyCredential;
  } catch (cause) {
    const { name } = cause as Error;
    if (name !== "NotAllowedError" && name !== "AbortError") throw new SSHError(`The security key can't be used: ${(cause as Error).message}`, "failed", { cause });
  }
  throw new SSHError("The security key was not used: it was cancelled, or not touched in time.", "cancelled");
}

function sized(bytes: Uint8Array): Uint8Array {
  const all = new Uint8Array(4 + bytes.length);
  new DataView(all.buffer).setUint32(0, bytes.length);
  all.set(bytes, 4);
  return all;
}

function text(value: string): Uint8Array {
  return sized(new TextEncoder().encode(value));
}

function concatenate(parts: Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

function toBase64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function fromBase64Url(value: string): Bytes {
  return Uint8Array.from(atob(value.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
}
