import { planAnswer } from "./answer.js";
import { encodeChunk, lastChunk } from "./body.js";
import { BadMessage, bodyLength, encodeFields, encodeHead, fromByteCharacters, tokensOf } from "./head.js";
import { bodilessMethods, cancelBody, checkChunk, dropLate, forbiddenMethods, readerOf, requestURL } from "./http.js";
import { infoOf, newRequest, sentence } from "./incoming.js";
import { Input } from "./input.js";
import { untilAborted } from "./request.js";
import { RequestBody } from "./requestbody.js";
import { isUpgrade, serveWebSocket } from "./upgrade.js";

/** Bytes of an answer's body that are copied into one chunk, which with its framing is two full messages. */
const chunkSize = (64 << 10) - 16;

const proceed = encodeHead(100, "Continue", []);

/**
 * Serves the requests that come on one HTTP connection, one after the other
 * (RFC 9112), until it ends; docs/protocol.md, 9. Of what goes wrong onError
 * is told, if the page did it.
 *
 * @param {import("./connection.js").Connection} connection
 * @param {object} site see `TunnelOptions` in wsproxy.d.ts, with onError and maxBody, and the tunnel's url
 */
export async function serveHTTP(connection, site) {
  const server = new Server(connection, site);
  try {
    while (await server.next());
    await server.writer.close();
  } catch (error) {
    if (error !== connection.error && !(error instanceof BadMessage)) site.onError(error);
    connection.fail(error);
  }
}

class Server {
  writer;
  #connection;
  #input;
  #site;

  constructor(connection, site) {
    this.#connection = connection;
    this.#site = site;
    this.#input = new Input(connection.streams.readable);
    this.writer = connection.streams.writable.getWriter();
    this.writer.closed.catch(() => {}); // each write says it
  }

  /** Answers the next request; false if it was the last. */
  async next() {
    let request;
    try {
      const head = await this.#input.head();
      if (!head) return false;
      request = {
        ...head,
        length: bodyLength(head),
        closes: head.minor === 0 || tokensOf(head.fields, "connection").includes("close"),
        expects: head.minor > 0 && tokensOf(head.fields, "expect").includes("100-continue"),
      };
    } catch (error) {
      if (!(error instanceof BadMessage)) throw error;
      return this.#answer({ method: "GET", minor: 1, closes: true }, sentence(error.status, error.message));
    }
    const gone = new AbortController();
    this.#connection.failed = (error) => gone.abort(error);
    try {
      return await this.#exchange(request, gone.signal);
    } finally {
      this.#connection.failed = () => {};
    }
  }

  async #exchange(request, signal) {
    const { method, length, expects } = request;
    const exchange = { isAnswered: false };
    const body = new RequestBody(this.#input, length, expects ? async () => {
      if (!exchange.isAnswered) await this.writer.write(proceed);
    } : undefined);
    const lost = () => body.lost(signal.reason);
    signal.addEventListener("abort", lost);
    const info = infoOf(request, signal);
    body.complete = () => {
      for (const [name, value] of body.trailers) info.trailers.append(name, value);
    };
    if (length !== 0 && bodilessMethods.has(method)) {
      const refusal = await this.#readWhole(body, info);
      if (refusal) return await this.#answer({ ...request, closes: true }, refusal);
    }
    const asked = { info, url: requestURL(info.path, this.#site.url, info.headers), body, signal };
    if (this.#site.onWebSocket && isUpgrade(request)) {
      return await serveWebSocket(request, newRequest(asked), info, {
        site: this.#site, input: this.#input, writer: this.writer, refuse: (response) => this.#answer(request, response),
      });
    }
    const response = await this.#handle(asked);
    if (response?.body && response.body === body.stream) await body.invite(); // an echo: it is about to be read
    exchange.isAnswered = true;
    const goesOn = await this.#answer({ ...request, closes: request.closes || body.endsConnection }, response, info);
    return goesOn && await body.finish();
  }

  /** Reads the body of a GET; returns what to answer if there is no way to. */
  async #readWhole(body, info) {
    try {
      info.body = await body.whole(this.#site.maxBody);
    } catch (error) {
      if (!body.fault) throw error;
      return sentence(body.fault.status, body.fault.message);
    }
    return info.body ? undefined : sentence(413, "The body of this request is too large for its method.");
  }

  /** What the page answers, or what is answered for it. */
  async #handle({ info, url, body, signal }) {
    const { onRequest, onError } = this.#site;
    if (!onRequest) return sentence(501, "The page behind this tunnel does not answer HTTP requests.");
    if (forbiddenMethods.has(info.method)) return sentence(405, "This method can't be handed to a web page.");
    let handled;
    try {
      handled = (async () => onRequest(newRequest({ info, url, body, signal }), info))();
      return await untilAborted(handled, signal);
    } catch (error) {
      if (signal.aborted) {
        dropLate(handled, signal, onError);
        throw signal.reason;
      }
      if (body.fault) return sentence(body.fault.status, body.fault.message);
      onError(error);
      return sentence(500, "The page behind this tunnel failed to answer.");
    }
  }

  /** @returns {Promise<boolean>} whether the connection serves another request */
  async #answer(request, response, info) {
    let plan, head, reader;
    try {
      plan = planAnswer(request, response, info?.setCookies ?? []);
      if (plan.hasBody) reader = readerOf(response);
      head = encodeHead(response.status, response.statusText, plan.fields);
    } catch (error) {
      cancelBody(response, error); // whatever part of it was wrong, nobody reads the rest
      reader?.cancel(error).catch(() => {});
      this.#site.onError(error);
      return this.#answer(request, sentence(502, "The page behind this tunnel gave no usable answer."));
    }
    if (!reader) {
      cancelBody(response);
      await this.writer.write(head);
      return !plan.closes;
    }
    try {
      await this.#send(head, reader, plan, info);
    } catch (error) {
      reader.cancel(error).catch(() => {});
      throw error;
    }
    return !plan.closes;
  }

  /** What makes the answer whole is held back until its stream has ended: one that is longer than it says is not whole. */
  async #send(head, reader, { isChunked, length }, info) {
    let held = head;
    let left = length ?? Infinity;
    if (left > 0) {
      await this.writer.write(head);
      held = undefined;
    }
    for (;;) {
      const { done, value } = await untilAborted(reader.read(), info?.signal);
      if (done) break;
      if (checkChunk(value).length === 0) continue;
      left -= value.length;
      if (left < 0) throw new TypeError(`a Response is longer than its Content-Length, ${length}`);
      if (left === 0) held = value;
      else if (isChunked) await this.#sendChunks(value);
      else await this.writer.write(value);
    }
    if (length !== undefined && left > 0) throw new TypeError(`a Response is shorter than its Content-Length, ${length}`);
    if (held) await this.writer.write(held);
    if (isChunked) await this.writer.write(fromByteCharacters(lastChunk + encodeFields([...info?.answerTrailers ?? []])));
  }

  async #sendChunks(value) {
    for (let i = 0; i < value.length; i += chunkSize) await this.writer.write(encodeChunk(value.subarray(i, i + chunkSize)));
  }
}
