// One instance of the service: settings from the environment, a unix socket, and
// a stop that loses nobody.

import fs from 'node:fs';
import net from 'node:net';
import closeWithGrace from 'close-with-grace';
import { makeApp } from './app.js';
import { Database } from './database.js';
import { Items } from './item.js';
import { Tickets } from './ticket.js';
import { makeMetrics } from './metrics.js';

const env = process.env;
const DRAIN = 1000;     // ms for nginx to use up its idle connections

const settings = {
  socket: env.SHOP_SOCKET,
  secure: env.SHOP_SECURE === '1',
  cookieSecret: env.SHOP_COOKIE_SECRET,
  ticketSecret: env.SHOP_TICKET_SECRET,
  webhookSecret: env.SHOP_WEBHOOK_SECRET,
  provider: env.SHOP_PROVIDER_SOCKET,
  pow: {
    cost: Number(env.SHOP_POW_COST ?? 5000),
    min: Number(env.SHOP_POW_MIN ?? 300),
    max: Number(env.SHOP_POW_MAX ?? 600),
    secret: env.SHOP_POW_SECRET,
    keySecret: env.SHOP_POW_KEY_SECRET,
  },
  lane: {
    merge: Number(env.SHOP_MERGE ?? 100),
    lanes: Number(env.SHOP_LANES ?? 1),
  },
};
const metrics = makeMetrics();
const logger = { level: env.SHOP_LOG_LEVEL ?? 'info' };
const shop = { settings, metrics };
const warn = { warn: (...args) => app.log.warn(...args) };
const role = { user: 'shop_web', database: 'shop' };

shop.database = new Database({
  pooler: { host: env.SHOP_POOLER, port: 6432, max: Number(env.SHOP_POOL ?? 20), ...role },
  server: { host: env.SHOP_SERVER, port: 5432, ...role },
  count: (name) => metrics.statements.inc({ name }),
  log: warn,
});
shop.items = new Items(shop.database, { streams: Number(env.SHOP_STREAMS ?? 4000), log: warn });
shop.tickets = new Tickets(shop.database, warn);

const app = await makeApp(shop, logger);
const ask = () => shop.tickets.ask();

shop.database.listen('seckill_queue', ask, ask);

// Stop listening, so nginx goes to the other instance; answer what comes on the
// connections that nginx has, and tell it to use them no more.
closeWithGrace({ delay: 8000, logger: app.log }, async ({ err }) => {
  if (err)
    app.log.error({ err }, 'stopping');
  app.drain();
  shop.items.endStreams();
  fs.rmSync(settings.socket, { force: true });
  net.Server.prototype.close.call(app.server);
  shop.tickets.close();
  await new Promise((resolve) => setTimeout(resolve, DRAIN));
  await app.close();
  shop.items.close();
  await shop.database.close();
});

fs.rmSync(settings.socket, { force: true });
await app.listen({ path: settings.socket });
