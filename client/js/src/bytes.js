/** Bytes, text and base64. Where the platform has a built-in, it does the work. */

const utf8 = new TextEncoder();
// Without ignoreBOM a decoder would swallow a byte order mark.
const strictUTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @param {string} text */
export const encodeText = (text) => utf8.encode(text);

/**
 * @param {Uint8Array} bytes
 * @returns {string | undefined} undefined if they are not UTF-8
 */
export function decodeText(bytes) {
  try {
    return strictUTF8.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * What a stream's writer was given, as bytes, without copying.
 *
 * @param {BufferSource} chunk
 */
export function bytesOf(chunk) {
  if (chunk instanceof Uint8Array) return chunk;
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (chunk instanceof ArrayBuffer) return new Uint8Array(chunk);
  throw new TypeError("only bytes can be written: an ArrayBuffer, or a view of one such as a Uint8Array");
}

/**
 * Collects chunks in one growing buffer, so that many small chunks take no
 * more memory than a few large ones.
 */
export class ByteBuffer {
  length = 0;
  #buffer = new Uint8Array();

  /** @param {Uint8Array} chunk is copied */
  append(chunk) {
    const length = this.length + chunk.length;
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#buffer.length));
      larger.set(this.bytes);
      this.#buffer = larger;
    }
    this.#buffer.set(chunk, this.length);
    this.length = length;
  }

  /** A view of what was appended. */
  get bytes() {
    return this.#buffer.subarray(0, this.length);
  }
}

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  if (bytes.toBase64) return bytes.toBase64();
  const parts = [];
  // A function takes only so many arguments.
  for (let i = 0; i < bytes.length; i += 0x8000) {
    parts.push(String.fromCharCode.apply(null, bytes.subarray(i, i + 0x8000)));
  }
  return btoa(parts.join(""));
}

/** @param {string} text */
export function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

/**
 * A header's value as the fetch API wants it: each byte a character. The
 * protocol's JSON has the same bytes as text.
 *
 * @param {string} text
 */
export function toByteString(text) {
  return isASCII(text) ? text : String.fromCharCode(...utf8.encode(text));
}

/**
 * The opposite of toByteString. A value that is not UTF-8 stays as it is.
 *
 * @param {string} value
 */
export function fromByteString(value) {
  return isASCII(value) ? value : decodeText(Uint8Array.from(value, (c) => c.charCodeAt(0))) ?? value;
}

const isASCII = (text) => !/[^\x00-\x7f]/.test(text);
