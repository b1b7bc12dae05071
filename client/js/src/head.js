/**
 * Heads of HTTP/1.1 messages as bytes, read strictly: what two readers could
 * understand in two ways is refused (RFC 9112, 2 to 7). Nothing here waits.
 */

/** Most bytes and fields of a head, or of a body's trailers: as many as the server lets pass. */
export const maxHead = 64 << 10;
export const maxFields = 200;

const CR = 13, LF = 10;

/** What is not HTTP/1.1, and the status to answer it with. */
export class BadMessage extends Error {
  /** @param {string} sentence for the client */
  constructor(sentence, status = 400) {
    super(sentence);
    this.name = "BadMessage";
    this.status = status;
  }
}

/**
 * @param {Uint8Array} bytes what has come of a head
 * @param {number} from where to look on: what is before was looked at
 * @returns {number} where the body begins; -1 if the head has not ended
 */
export function headEnd(bytes, from) {
  for (let i = bytes.indexOf(LF, from); i >= 0; i = bytes.indexOf(LF, i + 1)) {
    if (bytes[i - 1] !== CR) throw new BadMessage("A line does not end with CR LF.");
    if (bytes[i - 2] === LF && bytes[i - 3] === CR) {
      if (i >= maxHead) break;
      return i + 1;
    }
  }
  if (bytes.length > maxHead) throw new BadMessage("The head is too large.", 431);
  return -1;
}

/**
 * @typedef {[name: string, value: string][]} Fields in their order; each byte of a value is a character
 *
 * @param {Uint8Array} bytes a head with its empty line
 * @returns {{method: string, target: string, minor: number, fields: Fields}}
 */
export function parseRequest(bytes) {
  const [first, ...lines] = byteString(bytes).slice(0, -4).split("\r\n");
  const [, method, target, major, minor] = /^([\w!#$%&'*+\-.^`|~]+) ([\x21-\x7e\x80-\xff]+) HTTP\/(\d)\.(\d)$/.exec(first) ?? [];
  if (!method) throw new BadMessage("The request line can't be read.");
  if (major !== "1") throw new BadMessage("Only HTTP/1.1 is spoken here.", 505);
  if (lines.length > maxFields) throw new BadMessage("The head has too many fields.", 431);
  const fields = lines.map(parseField);
  if (minor !== "0" && valuesOf(fields, "host").length !== 1) throw new BadMessage("There must be one Host.");
  return { method, target, minor: Number(minor), fields };
}

/**
 * @param {string} line without its end
 * @returns {[name: string, value: string]}
 */
export function parseField(line) {
  const colon = line.indexOf(":");
  const name = line.slice(0, colon), value = trim(line.slice(colon + 1));
  // A line that begins with a blank would continue the one before (obs-fold).
  if (colon < 1 || !isName(name) || !isValue(value)) throw new BadMessage("A field can't be read.");
  return [name, value];
}

/**
 * How long the body of a request is.
 *
 * @param {{minor: number, fields: Fields}} head
 * @returns {number | "chunked"} bytes
 */
export function bodyLength({ minor, fields }) {
  const lengths = valuesOf(fields, "content-length");
  const codings = valuesOf(fields, "transfer-encoding");
  if (codings.length > 0) {
    if (lengths.length > 0 || minor === 0) throw new BadMessage("The length of the body is told in two ways.");
    if (codings.length > 1 || codings[0].toLowerCase() !== "chunked") {
      throw new BadMessage("Of transfer codings only chunked is known here.", 501);
    }
    return "chunked";
  }
  if (lengths.length === 0) return 0;
  const length = Number(lengths[0]);
  if (lengths.length > 1 || !/^\d+$/.test(lengths[0]) || !Number.isSafeInteger(length)) {
    throw new BadMessage("Content-Length is no number.");
  }
  return length;
}

/**
 * @param {Fields} fields
 * @param {string} name in lower case
 */
export function valuesOf(fields, name) {
  return fields.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value);
}

/** The members of a field that is a list, in lower case. */
export function tokensOf(fields, name) {
  return valuesOf(fields, name).flatMap((value) => value.toLowerCase().split(",")).map(trim).filter(Boolean);
}

/**
 * @param {number} status
 * @param {string} phrase left out if it is none
 * @param {Fields} fields
 */
export function encodeHead(status, phrase, fields) {
  return fromByteCharacters(`HTTP/1.1 ${status} ${isValue(phrase) ? phrase : ""}\r\n${encodeFields(fields)}`);
}

/**
 * Fields and the empty line. What is none would be another head, or another answer.
 *
 * @param {Fields} fields
 */
export function encodeFields(fields) {
  for (const [name, value] of fields) {
    if (!isName(name) || !isValue(value)) throw new TypeError(`this is no header: ${name}`);
  }
  return `${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

/** @param {string} text each character a byte */
export function fromByteCharacters(text) {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** @param {Uint8Array} bytes at most as many as a head has */
export function byteString(bytes) {
  let text = "";
  // A function takes only so many arguments.
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return text;
}

const isName = (text) => /^[\w!#$%&'*+\-.^`|~]+$/.test(text);
const isValue = (text) => /^[\t\x20-\x7e\x80-\xff]*$/.test(text);
const isBlank = (character) => character === " " || character === "\t";

/** Blanks of HTTP only: trim() takes others too, and a regular expression would try each of many. */
function trim(text) {
  let start = 0, end = text.length;
  while (start < end && isBlank(text[start])) start++;
  while (end > start && isBlank(text[end - 1])) end--;
  return text.slice(start, end);
}
