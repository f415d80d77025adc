/** For `node --import`, with an IPC channel: the process believes that as many milliseconds have passed as it is sent. */
let ahead = 0;
process.on('message', (ms: number) => {
  ahead = ms;
  process.send?.('set');
});
const { now } = Date;
Date.now = () => now() + ahead;
globalThis.Date = new Proxy(Date, {
  construct: (target, given: []) => (given.length ? new target(...given) : new target(Date.now())),
});
