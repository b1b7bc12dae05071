import { encodeText, fromByteString } from "./bytes.js";
import { bodilessMethods } from "./http.js";

/** A request as it came on a connection, to the fetch API's types. */

/**
 * @param {{method: string, target: string, fields: import("./head.js").Fields}} request
 * @param {AbortSignal} signal
 * @returns {object} see `TunnelRequestInfo` in wsproxy.d.ts
 */
export function infoOf({ method, target, fields }, signal) {
  const headers = new Headers();
  for (const [name, value] of fields) headers.append(name, value);
  return {
    method,
    path: fromByteString(target),
    headers,
    remoteAddr: headers.get("X-Forwarded-For") ?? "",
    signal,
    setCookies: [],
    trailers: new Headers(),
    answerTrailers: new Headers(),
  };
}

/**
 * @param {{info: object, url: string, body: import("./requestbody.js").RequestBody, signal: AbortSignal}} request
 * @returns {Request}
 */
export function newRequest({ info: { method, headers }, url, body, signal }) {
  const init = { method, headers, signal };
  if (body.isEmpty || bodilessMethods.has(method)) return new Request(url, init);
  if (streamsInRequests()) return new Request(url, { ...init, body: body.stream, duplex: "half" });
  return withBody(new Request(url, init), body.stream);
}

let answered;

/** Firefox makes text of a stream, "[object ReadableStream]", and has never heard of `duplex`. */
function streamsInRequests() {
  if (answered !== undefined) return answered;
  let knowsDuplex = false;
  const request = new Request("http://localhost/", {
    method: "POST",
    body: new ReadableStream(),
    get duplex() {
      knowsDuplex = true;
      return "half";
    },
  });
  answered = knowsDuplex && !request.headers.has("Content-Type");
  return answered;
}

/** A Request whose body is that of a Response, which can be a stream everywhere. It can be read, but not given to fetch. */
export function withBody(request, stream) {
  const type = request.headers.get("Content-Type");
  const carrier = new Response(stream, { headers: type === null ? {} : { "Content-Type": type } });
  const properties = { body: { get: () => carrier.body }, bodyUsed: { get: () => carrier.bodyUsed } };
  for (const name of ["arrayBuffer", "blob", "bytes", "formData", "json", "text"]) {
    if (carrier[name]) properties[name] = { value: () => carrier[name]() };
  }
  return Object.defineProperties(request, properties);
}

/** An answer that the page did not give. */
export function sentence(status, text) {
  const headers = { "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store" };
  const body = encodeText(`${text}\n`);
  return new Response(body, { status, headers: { ...headers, "Content-Length": String(body.length) } });
}
