import { bytesOf, encodeText } from "./bytes.js";
import { connectionError, WsproxyError } from "./error.js";
import { Inlet } from "./inlet.js";

/** What a tcp_open says of a connection with which the proxy asks by HTTP. */
export const http = "http/1.1";

const nothing = new Uint8Array();

/**
 * One connection of a tunnel, raw TCP or HTTP: its two streams and its credit
 * in both directions; docs/protocol.md, 5 and 6.
 *
 * Credit is given for what the page has read. So no more than a window waits
 * for it, and a page that does not read stops this connection and no other.
 */
export class Connection {
  /** What the page gets. */
  streams;
  /** What ended it by force, if something did. */
  error;
  /** Called with that error, for who neither reads nor writes at that time. */
  failed = () => {};
  /** Bytes that it has sent, as Turns counts them. */
  sent = 0;

  #link;
  #id;
  #header; // of its data frames
  #window; // payload bytes that may be on their way, in each direction
  #mayArrive; // payload bytes that the server may still send
  #maySend; // payload bytes that the page may still send
  #rest = nothing; // what the write under way has not sent yet
  #written; // settles that write
  #hasSent = false;
  #input;
  #discards = false; // the page has cancelled readable
  #output; // controller of writable
  #over = false; // nothing is sent any more

  /**
   * @param {{outlet: object, turns: object, sendControl: Function, forget: Function}} link the tunnel's session
   * @param {{connId: string, remoteAddr: string, protocol?: string}} opened the tcp_open
   * @param {number} window bytes
   */
  constructor(link, { connId, remoteAddr, protocol = "tcp" }, window) {
    this.#link = link;
    this.#id = connId;
    this.#header = frameHeader(connId);
    this.#window = this.#mayArrive = this.#maySend = window;
    this.#input = new Inlet({ taken: () => this.#giveCredit(), cancelled: () => this.#discard() });
    const { readable } = this.#input;
    const writable = new WritableStream({
      start: (controller) => this.#startOutput(controller),
      write: (chunk) => this.#write(chunk),
      close: () => this.#closeOutput(),
      abort: (reason) => this.fail(reason),
    });
    this.streams = { readable, writable, remoteAddr, id: connId, protocol };
  }

  // What the server sends.

  /** @param {Uint8Array} payload */
  received(payload) {
    this.#mayArrive -= payload.length;
    if (this.#mayArrive < 0) {
      this.fail(new WsproxyError("the server sent more than it had credit for"));
      return;
    }
    if (this.#discards) this.#giveCredit();
    else this.#input.push(payload);
  }

  /**
   * The server widens the window of a connection that is in use by giving more
   * than it has passed on, and counts on it that all of it may be used.
   *
   * @param {number} bytes that may be sent beside what may already be
   */
  credited(bytes) {
    if (!(Number.isSafeInteger(bytes) && bytes > 0)) return;
    this.#maySend += bytes;
    this.#askForTurn();
  }

  /** The server's tcp_close. After eof the page may still send. */
  closedByServer(reason) {
    if (reason === "eof") this.#input.close();
    else this.#fail(connectionError(reason));
  }

  /** The session is gone, and the connection with it. */
  lost(error) {
    this.#fail(error);
  }

  /**
   * Ends it from this side. Of HTTP the proxy has to know that this was no end
   * in order: else an answer that was cut would look whole.
   */
  fail(error, reason = this.streams.protocol === http ? "reset" : undefined) {
    if (!this.#over) this.#link.sendControl({ type: "tcp_close", connId: this.#id, reason });
    this.#fail(error);
  }

  /** Ends it because the page has no service for it. */
  refuse(error) {
    const isFirst = this.streams.protocol === http && !this.#hasSent;
    this.fail(error, isFirst ? "refused" : undefined);
  }

  // What the page does with readable.

  /**
   * Gives credit for what the page has taken, a quarter window at a time: the
   * protocol asks for a half at the latest. It is called after each read.
   */
  #giveCredit() {
    const taken = this.#window - this.#mayArrive - this.#input.waiting;
    if (this.#over || taken < this.#window / 4) return;
    this.#mayArrive += taken;
    this.#link.sendControl({ type: "tcp_credit", connId: this.#id, bytes: taken });
  }

  /** What still comes is dropped, without holding the peer up: the page may have an answer to write. */
  #discard() {
    this.#discards = true;
    this.#giveCredit();
  }

  // What the page does with writable.

  #startOutput(controller) {
    this.#output = controller;
    // A write that waits for credit would hold the abort up.
    controller.signal?.addEventListener("abort", () => {
      queueMicrotask(() => this.fail(controller.signal.reason)); // Node's streams can't be errored right here
    });
  }

  /** It is done when everything was handed to the WebSocket, after waiting for the peer's credit and for its turns. */
  async #write(chunk) {
    let bytes;
    try {
      bytes = bytesOf(chunk);
    } catch (error) {
      this.fail(error);
      throw error;
    }
    if (this.#over) throw this.error;
    if (bytes.length === 0) return;
    await new Promise((resolve, reject) => {
      this.#rest = bytes;
      this.#written = { resolve, reject };
      this.#askForTurn();
    });
  }

  #askForTurn() {
    if (this.waiting > 0) this.#link.turns.ask(this);
  }

  /** Bytes that wait and that it may send. */
  get waiting() {
    return Math.min(this.#rest.length, this.#maySend);
  }

  /** @returns {number} length of the message that was sent */
  sendPiece(size) {
    const piece = this.#rest.subarray(0, Math.min(size, this.waiting));
    this.#rest = this.#rest.subarray(piece.length);
    this.#maySend -= piece.length;
    this.#hasSent = true;
    const message = frame(this.#header, piece);
    this.#link.outlet.send(message);
    if (this.#rest.length === 0) this.#written.resolve();
    return message.length;
  }

  /** The server delivers what was written and then closes: what the peer still says is lost. */
  #closeOutput() {
    if (this.#over) return;
    this.#link.sendControl({ type: "tcp_close", connId: this.#id });
    this.#end();
    this.#input.close();
  }

  // Ends.

  #fail(error = new WsproxyError("the connection was aborted")) {
    if (this.#over) return;
    this.error = error;
    this.#end();
    this.#input.error(error);
    this.#output.error(error);
    this.#written?.reject(error);
    this.failed(error);
  }

  #end() {
    this.#over = true;
    this.#rest = nothing;
    this.#link.forget(this.#id);
  }
}

/** Offset of the connId in a data frame: its length comes first, in 4 bytes, big-endian. */
const idOffset = 4;

function frameHeader(connId) {
  const id = encodeText(connId);
  const header = new Uint8Array(idOffset + id.length);
  new DataView(header.buffer).setUint32(0, id.length);
  header.set(id, idOffset);
  return header;
}

function frame(header, payload) {
  const bytes = new Uint8Array(header.length + payload.length);
  bytes.set(header);
  bytes.set(payload, header.length);
  return bytes;
}

const ascii = new TextDecoder();

/**
 * @param {Uint8Array} data a data frame
 * @returns {{connId: string, payload: Uint8Array}} payload is a view, not a copy
 */
export function parseFrame(data) {
  const start = idOffset + new DataView(data.buffer, data.byteOffset, data.length).getUint32(0);
  if (start > data.length) throw new RangeError("a data frame ends within its connId");
  return { connId: ascii.decode(data.subarray(idOffset, start)), payload: data.subarray(start) };
}
