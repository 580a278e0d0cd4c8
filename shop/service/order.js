// Buying, and the orders of a user.

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { Lane } from './lane.js';
import { Problem, refuse } from './problem.js';

const LONG_POLL = 10000;

const UUID = /^"?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"?$/i;

// The request id of a purchase: a hash of user, item and key, so that a key sent
// by another user is another request.
export function requestOf(user, item, key) {
  const hash = createHash('sha256').update(`${user} ${item} ${key.toLowerCase()}`).digest();

  hash[6] = hash[6] & 0x0f | 0x80;      // a UUID of version 8
  hash[8] = hash[8] & 0x3f | 0x80;
  return hash.toString('hex', 0, 16)
    .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

// The key, with or without the quotes of a structured field.
export function keyOf(text) {
  const match = UUID.exec(text ?? '');

  if (!text)
    throw new Problem('key-missing');
  if (!match)
    throw new Problem('key-malformed');
  return match[1];
}

function present(row) {
  return {
    item: row.item_id,
    order: row.order_id,
    quantity: row.quantity,
    state: row.state,
    pay_by: row.pay_by,
    amount: row.amount,
    payment: row.payment,
    unit: row.unit,
    seats: row.seats,
  };
}

// Sign tickets: the database's tickets are numbers that can be guessed.
function sign(secret, text) {
  return createHmac('sha256', secret).update(text).digest('base64url');
}

export function writeTicket(secret, parts) {
  const text = parts.join('.');

  return `${text}.${sign(secret, text)}`;
}

export function readTicket(secret, text) {
  const end = text.lastIndexOf('.');
  const given = Buffer.from(text.slice(end + 1));
  const right = Buffer.from(sign(secret, text.slice(0, Math.max(end, 0))));

  if (given.length !== right.length || !timingSafeEqual(given, right))
    throw new Problem('not-found');

  const [item, user, ticket, request] = text.slice(0, end).split('.');

  return { item: Number(item), user: Number(user), ticket, request };
}

const problems = { '4xx': { $ref: 'problem#' }, '5xx': { $ref: 'problem#' } };

export default async function routes(app, { database, items, tickets, settings, metrics }) {
  // A lane per item, so that no item waits for the buyers of another; and one lane
  // for all submissions, whose calls are short.
  const lanes = new Map();
  const submissions = new Lane({
    ...settings.lane,
    call: (buyers) => database.submitMany(buyers),
  });

  function laneOf({ item_id: item, numbered }) {
    if (!lanes.has(item)) {
      lanes.set(item, new Lane({
        ...settings.lane,
        call: (buyers) => (numbered ? database.claimMany(item, buyers) : database.buyMany(item, buyers)),
        onCall: (buyers) => metrics.batch.observe(buyers),
      }));
    }
    return lanes.get(item);
  }

  metrics.waiting(() => [...lanes.values()].reduce((sum, lane) => sum + lane.length, 0));

  // Mark the answers that nginx may cache, for a second.  "Sold out" for several
  // units or for seats is not marked: other buyers can still buy.
  function markAnswer(reply, outcome, single) {
    const forAll = outcome === 'ended' || (outcome === 'sold_out' && single);

    reply.header('X-Accel-Expires', forAll ? '1' : '0');
    metrics.outcomes.inc({ outcome });
  }

  function answer(reply, { item, outcome, order, unit, ticket, single, after }) {
    markAnswer(reply, outcome, single);
    if (outcome === 'sold') {
      reply.code(201).header('Location', `/api/items/${item}/orders/${order}`);
      return { outcome, item, order, unit };
    }
    if (outcome === 'queued') {
      reply.code(202).header('Location', `/api/tickets/${ticket}`)
        .header('Retry-After', '1').header('Preference-Applied', 'respond-async');
      return { outcome, ticket: `/api/tickets/${ticket}` };
    }
    return refuse(reply, outcome, { after });
  }

  async function whenToCome(item, outcome) {
    const row = outcome === 'not_started' ? await items.get(item) : null;

    return row?.starts_at ? (row.starts_at - Date.now()) / 1000 : undefined;
  }

  async function submit(buyer) {
    const { outcome, ticket } = await submissions.buy(buyer);

    return {
      outcome,
      ticket: ticket && writeTicket(settings.ticketSecret,
        [buyer.item, buyer.user, ticket, buyer.request]),
    };
  }

  // Bookings are not merged: the database has no call for many of them.
  function sell(row, buyer, async) {
    if (row.legs)
      return database.book(buyer);
    return async || row.path === 'queue' ? submit(buyer) : laneOf(row).buy(buyer);
  }

  app.post('/api/items/:item/orders', {
    onRequest: async (request, reply) => {
      reply.header('X-Accel-Expires', '0');
    },
    preHandler: app.loggedIn,
    schema: {
      summary: 'Buy',
      description: 'Every try of one purchase has the same Idempotency-Key, and every try but ' +
        'the first has Purchase-Retry: ?1. A refusal is not remembered: the key may try again.',
      params: { $ref: 'item-params#' },
      headers: {
        type: 'object',
        properties: {
          'idempotency-key': { type: 'string', description: 'a UUID, in quotes or not' },
          'purchase-retry': { type: 'string', description: '?1: not the first try' },
          prefer: { type: 'string', description: 'respond-async: answer 202 with a ticket' },
        },
      },
      body: {
        type: 'object',
        additionalProperties: false,
        properties: {
          token: { type: ['string', 'null'], maxLength: 200 },
          quantity: { type: 'integer', minimum: 1, maximum: 100 },
          seats: { type: 'array', minItems: 1, maxItems: 20, items: { type: 'integer' }, nullable: true },
        },
      },
      response: { 201: { $ref: 'sold#' }, 202: { $ref: 'queued#' }, ...problems },
    },
  }, async (request, reply) => {
    const key = keyOf(request.headers['idempotency-key']);
    const { user, params: { item }, body: { token = null, seats = null, quantity = seats?.length ?? 1 } } = request;
    const row = await items.settings(item);

    if (!row)
      throw new Problem('not-found');

    const buyer = { item, user, quantity, seats, token, request: requestOf(user, item, key) };
    const decision = await sell(row, buyer, /\brespond-async\b/.test(request.headers.prefer));

    return answer(reply, {
      item,
      single: quantity === 1 && !row.legs,
      ...decision,
      after: await whenToCome(item, decision.outcome),
    });
  });

  app.get('/api/tickets/:ticket', {
    preHandler: app.loggedIn,
    schema: {
      summary: 'The decision for a ticket, waiting up to ten seconds',
      params: {
        type: 'object',
        properties: { ticket: { type: 'string', maxLength: 200 } },
      },
      response: { 201: { $ref: 'sold#' }, 202: { $ref: 'queued#' }, ...problems },
    },
  }, async (request, reply) => {
    const signed = request.params.ticket;
    const { item, user, ticket, request: id } = readTicket(settings.ticketSecret, signed);

    if (user !== request.user)
      throw new Problem('not-found');

    const decision = await tickets.wait(ticket, app.draining() ? 0 : LONG_POLL);

    if (decision.outcome === 'lost') {
      const row = await database.orderOfRequest(item, id, user);

      decision.outcome = row ? 'sold' : 'uncertain';
      decision.order = row?.order_id;
    }
    return answer(reply, { item, ...decision, ticket: signed });
  });

  app.get('/api/orders', {
    preHandler: app.loggedIn,
    schema: {
      summary: 'Own orders; with item and key, that of one purchase',
      querystring: {
        type: 'object',
        properties: {
          item: { type: 'integer', minimum: 1 },
          key: { type: 'string', maxLength: 40 },
        },
      },
      response: { 200: { type: 'array', items: { $ref: 'order#' } }, ...problems },
    },
  }, async (request) => {
    const { item, key } = request.query;

    if (key === undefined)
      return (await database.ordersOf(request.user)).map(present);
    if (item === undefined)
      throw new Problem('bad-request', { detail: 'a key belongs to an item' });

    const id = requestOf(request.user, item, keyOf(key));
    const row = await database.orderOfRequest(item, id, request.user);

    return row ? [present(row)] : [];
  });

  const params = { $ref: 'order-params#' };

  // Orders of others do not exist.
  async function find(request) {
    const { item, order } = request.params;
    const row = await database.order(item, order, request.user);

    if (!row)
      throw new Problem('not-found');
    return row;
  }

  app.get('/api/items/:item/orders/:order', {
    preHandler: app.loggedIn,
    schema: { summary: 'An order', params, response: { 200: { $ref: 'order#' }, ...problems } },
  }, async (request) => present(await find(request)));

  app.post('/api/items/:item/orders/:order/cancel', {
    preHandler: app.loggedIn,
    schema: {
      summary: 'Cancel an order that is not paid',
      params,
      response: { 200: { $ref: 'order-state#' }, ...problems },
    },
  }, async (request) => {
    const row = await find(request);
    const { state } = await database.cancel(row.item_id, row.order_id);

    return { state };
  });

  app.post('/api/items/:item/orders/:order/payment', {
    preHandler: app.loggedIn,
    schema: {
      summary: 'Begin a payment at the provider',
      params,
      body: {
        type: 'object',
        additionalProperties: false,
        properties: { language: { type: 'string', enum: ['en', 'zh'] } },
      },
      response: { 201: { $ref: 'payment#' }, ...problems },
    },
  }, async (request, reply) => {
    const row = await find(request);

    if (row.state !== 'pending')
      return refuse(reply, row.state);

    const location = await app.beginPayment(row, request.body.language ?? 'en');

    reply.code(201).header('Location', location);
    return { location };
  });
}
