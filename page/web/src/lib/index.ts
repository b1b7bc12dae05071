/**
 * A terminal's inside without its looks: SSH sessions, files and shared ports
 * over a wsproxy server, for any web application.
 */
export * from "./types.ts";
export { SSHSession } from "./session.ts";
export { Shell } from "./shell.ts";
export { SFTP } from "./sftp.ts";
export { PortShare } from "./share.ts";
export { createSecurityKey, hasWebAuthn, signWebAuthn } from "./webauthn.ts";
export { describeKey, fingerprint, generateKey, lifetime, prepare, useWorker } from "./worker.ts";
