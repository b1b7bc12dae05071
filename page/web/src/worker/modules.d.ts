/** Go's own glue, which sets globalThis.Go; build.mjs says where it is. */
declare module "go:wasm_exec";
