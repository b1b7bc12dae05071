/**
 * A terminal's inside without its looks: SSH sessions, files and shared ports
 * over a wsproxy server, for any web application. docs/page.md shows their use.
 */
export * from "./types.ts";
