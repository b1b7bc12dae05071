import { ByteBuffer, decodeText, encodeText } from "./bytes.js";

/** The frames of a WebSocket as its server sees and makes them (RFC 6455, 5 and 7). Nothing here waits. */

const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };
const typeOf = Object.fromEntries(Object.entries(opcodes).map(([name, code]) => [code, name]));

/** Most bytes of a control frame's payload (RFC 6455, 5.5). */
export const maxControl = 125;
/** What a close frame may say; 1005, 1006 and 1015 are never sent (RFC 6455, 7.4, and the registry of IANA). */
export const isCloseCode = (code) => (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999);

/** What a client did wrong, and the close code that says so. */
export class FrameError extends Error {
  constructor(code, sentence) {
    super(sentence);
    this.name = "FrameError";
    this.code = code;
  }
}

/**
 * @typedef {object} Message
 * @property {"text" | "binary" | "ping" | "pong" | "close"} type
 * @property {string | Uint8Array} data a string if it is text
 * @property {number} [code] of a close; 1005 if there was none
 * @property {string} [reason] of a close
 */

/** Puts messages together from what comes. */
export class FrameReader {
  #maxMessage;
  #header = []; // bytes that have come of a frame's header
  #frame; // {opcode, isLast, mask, left, payload} whose payload is coming
  #message; // {opcode, payload} of which a frame has come

  /** @param {number} maxMessage bytes of a message, whose fragments are kept until all have come */
  constructor(maxMessage) {
    this.#maxMessage = maxMessage;
  }

  /**
   * @param {Uint8Array} bytes
   * @returns {Generator<Message>} it throws a FrameError at what no client may send
   */
  *push(bytes) {
    for (let at = 0; at < bytes.length || this.#frame?.left === 0;) {
      if (this.#frame === undefined) {
        this.#header.push(bytes[at++]);
        this.#readHeader();
        continue;
      }
      const part = bytes.subarray(at, at + this.#frame.left);
      this.#append(this.#frame, part);
      at += part.length;
      if (this.#frame.left > 0) continue;
      const message = this.#endFrame(this.#frame);
      this.#frame = undefined;
      if (message) yield message;
    }
  }

  #readHeader() {
    const header = this.#header;
    if (header.length < 2) return;
    if (header.length === 2) checkHeader(header);
    const short = header[1] & 0x7f;
    const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (header.length < 2 + extended + 4) return;
    const length = extended === 0 ? short : lengthOf(header.slice(2, 2 + extended));
    this.#header = [];
    this.#frame = this.#begin(header[0] & 0xf, header[0] >= 0x80, header.slice(-4), length);
  }

  #begin(opcode, isLast, mask, left) {
    const frame = { opcode, isLast, mask, left };
    if (opcode >= opcodes.close) return { ...frame, payload: new ByteBuffer() };
    if ((opcode === opcodes.continuation) !== (this.#message !== undefined)) {
      throw new FrameError(1002, "a message began within another, or a continuation of none came");
    }
    this.#message ??= { opcode, payload: new ByteBuffer() };
    const { payload } = this.#message;
    if (payload.length + left > this.#maxMessage) throw new FrameError(1009, `a message is larger than ${this.#maxMessage} bytes`);
    return { ...frame, payload };
  }

  #append(frame, part) {
    const { mask, payload } = frame;
    const plain = new Uint8Array(part.length);
    for (let i = 0; i < part.length; i++) plain[i] = part[i] ^ mask[i & 3];
    payload.append(plain);
    frame.left -= part.length;
    const turn = part.length & 3; // where in the mask the next part begins
    frame.mask = [...mask.slice(turn), ...mask.slice(0, turn)];
  }

  #endFrame({ opcode, isLast, payload }) {
    if (opcode === opcodes.close) return closeMessage(payload.bytes);
    if (opcode > opcodes.close) return { type: typeOf[opcode], data: payload.bytes };
    if (!isLast) return undefined;
    const type = typeOf[this.#message.opcode];
    this.#message = undefined;
    const data = type === "text" ? decodeText(payload.bytes) : payload.bytes;
    if (data === undefined) throw new FrameError(1007, "a text is not UTF-8");
    return { type, data };
  }
}

function checkHeader([first, second]) {
  const opcode = first & 0xf;
  if (first & 0x70) throw new FrameError(1002, "a frame uses an extension that was not negotiated");
  if (typeOf[opcode] === undefined) throw new FrameError(1002, "a frame is of an unknown kind");
  if (second < 0x80) throw new FrameError(1002, "a frame is not masked");
  if (opcode >= opcodes.close && (first < 0x80 || (second & 0x7f) > maxControl)) {
    throw new FrameError(1002, "a control frame is too long or fragmented");
  }
}

function lengthOf(bytes) {
  const length = bytes.reduce((sum, byte) => 256 * sum + byte, 0);
  const isShortest = length >= (bytes.length === 2 ? 126 : 0x10000);
  if (!isShortest || bytes[0] >= 0x80 && bytes.length === 8) throw new FrameError(1002, "a frame's length is not told as it must be");
  return length;
}

function closeMessage(payload) {
  if (payload.length === 0) return { type: "close", data: payload, code: 1005, reason: "" };
  const code = 256 * payload[0] + payload[1]; // NaN if there is one byte only
  const reason = decodeText(payload.subarray(2));
  if (!isCloseCode(code)) throw new FrameError(1002, "a close frame has a code that none may have");
  if (reason === undefined) throw new FrameError(1007, "a close frame's reason is not UTF-8");
  return { type: "close", data: payload, code, reason };
}

/**
 * @param {keyof typeof opcodes} type
 * @param {Uint8Array} payload
 * @param {boolean} [isLast] whether it ends its message
 * @returns {Uint8Array} without a mask, as a server sends it
 */
export function encodeFrame(type, payload, isLast = true) {
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 0x10000 ? 2 : 8;
  const frame = new Uint8Array(2 + extended + length);
  frame[0] = opcodes[type] | (isLast ? 0x80 : 0);
  frame[1] = extended === 0 ? length : extended === 2 ? 126 : 127;
  const view = new DataView(frame.buffer);
  if (extended === 2) view.setUint16(2, length);
  if (extended === 8) view.setBigUint64(2, BigInt(length));
  frame.set(payload, 2 + extended);
  return frame;
}

/**
 * @param {number} [code]
 * @param {string} [reason]
 */
export function encodeClose(code, reason = "") {
  if (code === undefined || code === 1005) return encodeFrame("close", new Uint8Array());
  return encodeFrame("close", Uint8Array.of(code >> 8, code & 0xff, ...encodeText(reason)));
}
