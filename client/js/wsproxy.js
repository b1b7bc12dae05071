/**
 * Client of wsproxy for web pages, without dependencies.
 *
 * - `connectRelay` opens a TCP connection to a host and port, through the server.
 * - `openTunnel` gives the page a public address, and hands it the HTTP requests,
 *   WebSockets and TCP connections that arrive there.
 *
 * README.md beside this file shows how they are used. The wire protocol is
 * docs/protocol.md of wsproxy.
 */
export { connectRelay } from "./src/relay.js";
export { openTunnel } from "./src/tunnel.js";
export { WsproxyError } from "./src/error.js";
