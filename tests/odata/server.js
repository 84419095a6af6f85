// Starts the shop on loopback alone and in front of it what SAP's gateways do and CAP does not: a write needs a token
// that a read had fetched, and the cookie that came with it. Ends with its parent: when standard input closes.
const { randomUUID } = require('node:crypto');
const cds = require('@sap/cds');

const listen = require('node:http').Server.prototype.listen;
// CAP listens on all interfaces unless told otherwise; here nothing may but loopback.
require('node:http').Server.prototype.listen = function (options, ...rest) {
  const port = typeof options === 'object' ? options.port : options;
  return listen.call(this, { port, host: '127.0.0.1' }, ...rest.filter((r) => typeof r === 'function'));
};

const sessions = new Map();

cds.on('bootstrap', (app) => {
  app.post('/test/end-sessions', (_, answer) => { sessions.clear(); answer.sendStatus(204); });
  app.post('/test/credit-block/:customer/:is', async ({ params }, answer) => {
    const fields = { CreditBlock: params.is === 'true', LastChangeDateTime: new Date().toISOString() };
    await UPDATE('shop.Customers').set(fields).where({ Customer: params.customer });
    answer.sendStatus(204);
  });
  app.use('/odata', (request, answer, next) => {
    const cookie = /(?:^|; )SAP_SESSION=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
    const token = request.headers['x-csrf-token'];
    if (request.method === 'GET' || request.method === 'HEAD') {
      if (token?.toLowerCase() === 'fetch') {
        const session = randomUUID();
        sessions.set(session, randomUUID());
        answer.set('x-csrf-token', sessions.get(session));
        answer.append('set-cookie', `SAP_SESSION=${session}; path=/; HttpOnly`);
        answer.append('set-cookie', 'sap-usercontext=sap-client=100; path=/');
      }
      return next();
    }
    // The clerk of the tests works inside the house.
    if (request.headers.authorization?.startsWith('Basic Y2xlcms6')) return next();
    if (!cookie || !token || sessions.get(cookie) !== token) {
      return answer.set('x-csrf-token', 'Required').status(403).type('text').send('CSRF token validation failed');
    }
    next();
  });
});

cds.on('listening', ({ server }) => console.log(JSON.stringify({ ready: `127.0.0.1:${server.address().port}` })));
process.stdin.resume().on('end', () => process.exit(0));

module.exports = cds.server;
