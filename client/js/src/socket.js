import { plainAddress } from "./address.js";
import { refusalError, WsproxyError } from "./error.js";
import { untilAborted } from "./request.js";

/** How long the question why a WebSocket did not open may take, in milliseconds. */
const diagnosisTimeout = 5000;
/** The longest sentence that is taken from a server's refusal, in characters. The server's own are below 200. */
const longestSentence = 500;

/**
 * Opens a WebSocket to an endpoint of the server.
 *
 * From `opened(socket)` on the receiver gets each message as an ArrayBuffer or
 * a string by `received(data)`, and at last `ended({code, reason})`. They are
 * called directly and not by a promise, so that nothing is missed in between.
 *
 * @param {URL} address
 * @param {{token?: string | (() => string | Promise<string>), signal?: AbortSignal, protocols: string[]}} options
 * @param {{opened: Function, received: Function, ended: Function}} receiver
 * @returns {Promise<void>} rejects with a WsproxyError, or with the signal's reason
 */
export async function openSocket(address, { token, signal, protocols }, receiver) {
  if (typeof globalThis.WebSocket !== "function") {
    throw new WsproxyError(
      "there is no WebSocket here: Node has one from version 22 on, and from 20.10 on with `node --experimental-websocket`; "
        + "elsewhere set globalThis.WebSocket to a class of that kind, such as the one of the package ws",
      { code: 1006 },
    );
  }
  const bearer = await currentToken(token, signal);
  const socket = newSocket(address, protocols, bearer);
  const opened = await new Promise((resolve, reject) => {
    let isOpen = false;
    const settle = (end, value) => {
      signal?.removeEventListener("abort", abort);
      end(value);
    };
    const abort = () => {
      settle(reject, signal.reason);
      socket.close();
    };
    signal?.addEventListener("abort", abort);
    socket.onopen = () => {
      isOpen = true;
      settle(resolve, true);
      receiver.opened(socket);
    };
    socket.onmessage = ({ data }) => receiver.received(data);
    socket.onclose = ({ code, reason }) => {
      if (isOpen) receiver.ended({ code, reason });
      else settle(resolve, false);
    };
    // Close follows, but in Node's own WebSocket not if it never opened.
    socket.onerror = () => {
      if (!isOpen) settle(resolve, false);
    };
  });
  if (!opened) throw refusalError(await askWhy(address, bearer, signal));
}

/** The token of now: a function is asked anew for each connection. */
export async function currentToken(token, signal) {
  signal?.throwIfAborted();
  const bearer = typeof token === "function" ? await untilAborted(token(), signal) : token;
  // It travels as the name of a subprotocol (RFC 6455, 4.1: a token of RFC 9110).
  // A browser's own error would show it.
  if (bearer && !/^[\w!#$%&'*+\-.^`|~]+$/.test(bearer)) {
    throw new TypeError("the token has characters that no JSON Web Token has");
  }
  return bearer;
}

/**
 * The token goes into the subprotocols and not into the URL, which ends up in
 * logs (docs/protocol.md, 10). The server selects one of the others.
 */
export function newSocket(address, protocols, bearer) {
  try {
    const socket = new WebSocket(address.href, bearer ? [...protocols, `bearer.${bearer}`] : protocols);
    socket.binaryType = "arraybuffer";
    return socket;
  } catch (cause) {
    const isMixed = globalThis.location?.protocol === "https:" && address.protocol === "ws:";
    throw new WsproxyError(
      isMixed ? "a page that came by https can use wss only, not ws" : `no WebSocket could be made for ${address.origin}`,
      { code: 1006, cause },
    );
  }
}

/**
 * A browser does not tell a page why a handshake failed. The server answers a
 * plain request for the same address in the same way, and lets pages of
 * allowed origins read it. The question changes nothing there: a server that
 * would accept answers 426.
 *
 * @returns {Promise<{status?: number, sentence?: string, cause?: unknown}>}
 */
async function askWhy(address, bearer, signal) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), diagnosisTimeout);
  const abort = () => limit.abort();
  signal?.addEventListener("abort", abort);
  try {
    signal?.throwIfAborted();
    const response = await fetch(plainAddress(address), {
      headers: bearer ? { Authorization: `Bearer ${bearer}` } : {},
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: limit.signal,
    });
    return { status: response.status, sentence: await sentenceOf(response) };
  } catch (cause) {
    return { cause };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    signal?.throwIfAborted();
  }
}

/** The server's sentence. What is no plain text comes from something in front of it. */
async function sentenceOf(response) {
  const isText = response.headers.get("Content-Type")?.startsWith("text/plain");
  const reader = response.body?.getReader();
  if (!reader) return "";
  const { value } = isText ? await reader.read() : {};
  reader.cancel().catch(() => {});
  return value ? new TextDecoder().decode(value).trim().slice(0, longestSentence) : "";
}
