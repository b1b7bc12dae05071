// Passwords and keys that a person wants kept: encrypted by a passphrase that
// the page never keeps. PBKDF2 makes guessing slow, AES-GCM tells a wrong one.

/** Base64 of what is needed to decrypt beside the passphrase. */
export interface Sealed {
  rounds: number;
  salt: string;
  iv: string;
  data: string;
}

/** What OWASP advises for PBKDF2 with SHA-256; about a third of a second. */
const ROUNDS = 600_000;
/** Rounds that somebody else wrote are not believed beyond this: the page would hang. */
const MOST_ROUNDS = 10_000_000;

export class WrongPassphrase extends Error {
  constructor() {
    super("This passphrase does not open the saved secrets.");
  }
}

/** False in pages that came over plain HTTP from another machine: browsers have no cryptography there. */
export function canSeal(): boolean {
  return globalThis.crypto?.subtle !== undefined;
}

export async function seal(value: unknown, passphrase: string, rounds = ROUNDS): Promise<Sealed> {
  const salt = crypto.getRandomValues(new Uint8Array(16));
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const key = await derive(passphrase, salt, rounds);
  const data = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, new TextEncoder().encode(JSON.stringify(value)));
  return { rounds, salt: encode(salt), iv: encode(iv), data: encode(new Uint8Array(data)) };
}

/** Throws WrongPassphrase, also when the sealed data was changed. */
export async function unseal(sealed: Sealed, passphrase: string): Promise<unknown> {
  if (!(sealed.rounds > 0 && sealed.rounds <= MOST_ROUNDS)) throw new WrongPassphrase();
  try {
    const key = await derive(passphrase, decode(sealed.salt), sealed.rounds);
    const data = await crypto.subtle.decrypt({ name: "AES-GCM", iv: decode(sealed.iv) }, key, decode(sealed.data));
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    throw new WrongPassphrase();
  }
}

async function derive(passphrase: string, salt: Uint8Array<ArrayBuffer>, iterations: number): Promise<CryptoKey> {
  const raw = new TextEncoder().encode(passphrase.normalize("NFC"));
  const secret = await crypto.subtle.importKey("raw", raw, "PBKDF2", false, ["deriveKey"]);
  return crypto.subtle.deriveKey({ name: "PBKDF2", hash: "SHA-256", salt, iterations }, secret,
    { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

function encode(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function decode(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
