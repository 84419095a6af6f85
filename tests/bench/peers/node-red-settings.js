// Node-RED without its editor and without a listener beyond this machine; the port comes from the environment.
module.exports = {
  flowFile: "flows.json",
  uiHost: "127.0.0.1",
  uiPort: process.env.BENCH_UI_PORT,
  httpAdminRoot: false,
  httpNodeRoot: false,
  credentialSecret: false,
  logging: { console: { level: "warn", metrics: false, audit: false } },
  telemetry: { enabled: false, updateNotification: false },
};
