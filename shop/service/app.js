// The service without its socket: what every request passes, and the routes.

import fastify, { LogController } from 'fastify';
import cookie from '@fastify/cookie';
import swagger from '@fastify/swagger';
import { Problem, onError, refuse } from './problem.js';
import { SCHEMAS } from './schemas.js';
import session from './session.js';
import item from './item.js';
import pass from './pass.js';
import order from './order.js';
import payment from './payment.js';
import metrics from './metrics.js';

// Changes are JSON from our own pages, or from programs that are no browsers.
// With the cookie's SameSite=Strict that is all that a forged form would need.
async function checkOrigin(request) {
  const site = request.headers['sec-fetch-site'];

  if (request.method === 'GET' || request.method === 'HEAD')
    return;
  if (site && site !== 'same-origin')
    throw new Problem('cross-site');
  if (!/^application\/json\s*(;|$)/i.test(request.headers['content-type']))
    throw new Problem('not-json');
}

export async function makeApp(shop, logger = false) {
  const app = fastify({
    logger,
    bodyLimit: 4096,
    keepAliveTimeout: 75000,      // longer than nginx keeps a connection
    requestTimeout: 10000,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: 200 },
    genReqId: () => crypto.randomUUID(),
    // an unknown member is a mistake, not something to drop
    ajv: { customOptions: { removeAdditional: false } },
  });
  let draining = false;

  app.decorate('draining', () => draining);
  app.decorate('drain', () => {
    draining = true;
  });
  app.removeContentTypeParser('text/plain');
  app.setErrorHandler(onError);
  app.setNotFoundHandler((request, reply) => refuse(reply, 'not-found'));
  app.addHook('onRequest', checkOrigin);
  app.addHook('onSend', async (request, reply) => {
    if (draining)
      reply.header('Connection', 'close');
  });
  SCHEMAS.forEach((schema) => app.addSchema(schema));

  await app.register(cookie, { secret: shop.settings.cookieSecret });
  await app.register(swagger, {
    openapi: {
      openapi: '3.0.3',
      info: {
        title: 'seckill shop',
        description: 'Errors are application/problem+json; their member outcome is the answer of the database.',
        version: '1.0.0',
      },
    },
    refResolver: { buildLocalReference: (json) => json.$id },
  });
  await app.register(asPlugin(session), shop);
  await app.register(asPlugin(payment), shop);
  for (const routes of [item, pass, order, metrics])
    await app.register(routes, shop);
  return app;
}

// What these decorate is for the other routes, too.
function asPlugin(routes) {
  routes[Symbol.for('skip-override')] = true;
  return routes;
}
