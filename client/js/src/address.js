/** The addresses of a server's endpoints; docs/protocol.md, 1. */

/**
 * @param {object} options see `RelayOptions` in wsproxy.d.ts
 * @returns {URL} of the WebSocket
 */
export function relayAddress({ url, host, port, cfDomain, cfId, cfSecret }) {
  const address = endpoint(url, "relay");
  if (cfDomain === undefined) {
    if (!host || !port) throw new TypeError("connectRelay needs host and port, or cfDomain, cfId and cfSecret");
    address.searchParams.set("host", host);
    address.searchParams.set("port", String(port));
  } else {
    if (!cfDomain || !cfId || !cfSecret) throw new TypeError("connectRelay needs all of cfDomain, cfId and cfSecret");
    if (host !== undefined || port !== undefined) {
      throw new TypeError("connectRelay needs either host and port or cfDomain, not both");
    }
    address.searchParams.set("cf_domain", cfDomain);
    address.searchParams.set("cf_id", cfId);
    address.searchParams.set("cf_secret", cfSecret);
  }
  return address;
}

/**
 * Control messages as text, whatever the server's own default is, credit for
 * each connection, and HTTP over connections. A server of before ignores what
 * it doesn't know.
 *
 * @param {object} options see `TunnelOptions` in wsproxy.d.ts
 * @returns {URL} of the WebSocket
 */
export function tunnelAddress({ url, host, name, raw = true }) {
  const address = endpoint(url, "tunnel");
  address.searchParams.set("control", "text");
  address.searchParams.set("flow", "credit");
  address.searchParams.set("http", "bytes");
  if (host !== undefined) address.searchParams.set("host", host);
  if (name !== undefined) address.searchParams.set("name", name);
  if (!raw) address.searchParams.set("raw", "off");
  return address;
}

/**
 * The same address for a plain request.
 *
 * @param {URL} address
 */
export function plainAddress(address) {
  const plain = new URL(address);
  plain.protocol = address.protocol === "wss:" ? "https:" : "http:";
  return plain;
}

const webSocketSchemes = { "http:": "ws:", "https:": "wss:", "ws:": "ws:", "wss:": "wss:" };

/** `base` is the server's address, with or without the endpoint, or relative to the page's. */
function endpoint(base, name) {
  if (!base) throw new TypeError("url is missing: the address of the wsproxy server, such as wss://proxy.example.com");
  const address = new URL(base, globalThis.location?.href);
  const scheme = webSocketSchemes[address.protocol];
  if (!scheme) throw new TypeError(`url must begin with wss, ws, https or http, not ${address.protocol}`);
  address.protocol = scheme;
  address.pathname = `${address.pathname.replace(/\/(relay|tunnel)?\/?$/, "")}/${name}`;
  address.hash = "";
  return address;
}
