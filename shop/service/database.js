// Every statement of the shop, and the connections that they are sent on: a pool
// through pgbouncer in transaction mode, so statements have no names and nothing
// is SET; and one connection straight to the server for LISTEN.

import pg from 'pg';
import { isTransient } from './problem.js';

// bigint: numbers of items, orders and users stay below 2^53; tickets do not,
// and are asked for as text
pg.types.setTypeParser(20, Number);

// Turn rows into an array for each of these members.
function columns(rows, ...names) {
  return names.map((name) => rows.map((row) => row[name] ?? null));
}

// An order as its buyer sees it, with its last payment.
const ORDER = `
  SELECT o.item_id, o.order_id, o.quantity, o.state, o.pay_by,
    o.quantity * g.amount AS amount,
    (SELECT p.state FROM shop.payments p
     WHERE p.item_id = o.item_id AND p.order_id = o.order_id
     ORDER BY p.created_at DESC LIMIT 1) AS payment,
    CASE WHEN o.unit IS NOT NULL THEN
      (SELECT to_jsonb(u) FROM seckill_unit(o.item_id, o.order_id) u) END AS unit,
    CASE WHEN o.seats IS NOT NULL THEN
      (SELECT array_agg(s.label ORDER BY s.seat) FROM seckill.seats s
       WHERE s.item_id = o.item_id AND s.seat = ANY (o.seats)) END AS seats
  FROM seckill.orders o JOIN shop.goods g USING (item_id)`;

export class Database {
  constructor({ pooler, server, count = () => {}, log }) {
    this.pool = new pg.Pool({
      ...pooler,
      connectionTimeoutMillis: 2500,
      idleTimeoutMillis: 30000,
      query_timeout: 4000,
    });
    this.pool.on('error', (error) => log.warn({ message: error.message }, 'pooler'));
    this.server = server;
    this.count = count;
    this.log = log;
    this.closed = false;
  }

  // Run a statement and return its rows.  One that may be repeated is sent
  // again once, if the server or the way to it has failed.
  async run(name, text, values, { repeat = false } = {}) {
    this.count(name);
    try {
      return (await this.pool.query(text, values)).rows;
    } catch (error) {
      if (!repeat || !isTransient(error))
        throw error;
      this.count(name);
      return (await this.pool.query(text, values)).rows;
    }
  }

  async one(...args) {
    return (await this.run(...args))[0];
  }

  alive() {
    return this.run('alive', 'SELECT 1');
  }

  addUser(name) {
    return this.one('add_user',
      'INSERT INTO shop.users (name) VALUES ($1) RETURNING user_id, name', [name]);
  }

  items(ids) {
    return this.run('items', `
      SELECT g.item_id, g.path, g.amount,
        CASE WHEN i.legs IS NULL THEN i.available
          ELSE (SELECT count(*) FROM seckill_seat_map(g.item_id) s WHERE s.state = 'free')
        END AS available,
        CASE WHEN i.legs IS NULL OR i.state <> 'on_sale' THEN i.state
          WHEN EXISTS (SELECT FROM seckill_seat_map(g.item_id) s WHERE s.state <> 'taken') THEN 'on_sale'
          ELSE 'sold_out'
        END AS state,
        i.starts_at, i.ends_at,
        i.numbered, i.legs, i.per_user_limit, extract(epoch FROM i.pay_within)::integer AS pay_within
      FROM shop.goods g, seckill_item(g.item_id) i
      WHERE g.item_id = ANY ($1::bigint[])`, [ids], { repeat: true });
  }

  pass(nonce, item, user, seconds) {
    return this.one('pass',
      'SELECT shop.make_pass($1, $2, $3, $4 * interval \'1 second\') AS token',
      [nonce, item, user, seconds]);
  }

  forgetChallenges() {
    return this.run('forget_challenges',
      'DELETE FROM shop.used_challenges WHERE expires_at < now()');
  }

  // Not repeated here: the lanes do that.
  buyMany(item, buyers) {
    return this.run('buy_many', `
      SELECT outcome, order_id
      FROM seckill_buy_many($1, $2::bigint[], 'auto', $3::uuid[], $4::text[], $5::bigint[])`,
    [item, ...columns(buyers, 'user', 'request', 'token', 'quantity')]);
  }

  // Claim numbered units; a row that is sold tells what its unit is worth.
  async claimMany(item, buyers) {
    const rows = await this.run('claim_many', `
      SELECT outcome, order_id, unit, code, prize, amount
      FROM seckill_claim_many($1, $2::bigint[], 'auto', $3::uuid[], $4::text[])`,
    [item, ...columns(buyers, 'user', 'request', 'token')]);

    return rows.map(({ outcome, order_id, ...unit }) => (
      { outcome, order_id, unit: outcome === 'sold' ? unit : undefined }));
  }

  // An event: one leg.
  book({ item, user, quantity, seats, request, token }) {
    return this.one('book', `
      SELECT outcome, order_id AS order
      FROM seckill_book($1, $2, 0, 1, $3, seats => $4, request_id => $5, token => $6)`,
    [item, user, quantity, seats, request, token], { repeat: true });
  }

  seats(item) {
    return this.run('seats', `
      SELECT seat, block, label, state FROM seckill_seat_map($1) ORDER BY seat`,
    [item], { repeat: true });
  }

  submitMany(buyers) {
    return this.run('submit_many', `
      SELECT outcome, ticket::text
      FROM seckill_submit_many($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[], $5::text[])`,
    columns(buyers, 'item', 'user', 'quantity', 'request', 'token'));
  }

  results(tickets) {
    return this.run('result_many', `
      SELECT ticket::text, outcome, order_id, sqlstate
      FROM seckill_result_many($1::bigint[])`, [tickets]);
  }

  order(item, order, user) {
    return this.one('order', `${ORDER}
      WHERE o.item_id = $1 AND o.order_id = $2 AND o.user_id = $3`,
    [item, order, user], { repeat: true });
  }

  ordersOf(user) {
    return this.run('orders_of', `${ORDER}
      WHERE o.user_id = $1
      ORDER BY o.order_id DESC LIMIT 100`, [user], { repeat: true });
  }

  orderOfRequest(item, request, user) {
    return this.one('order_of_request', `${ORDER}
      WHERE o.item_id = $1 AND o.request_id = $2 AND o.user_id = $3`,
    [item, request, user], { repeat: true });
  }

  cancel(item, order) {
    return this.one('cancel', 'SELECT seckill_cancel($1, $2) AS state',
      [item, order], { repeat: true });
  }

  addPayment(item, order, amount) {
    return this.one('add_payment', `
      INSERT INTO shop.payments (item_id, order_id, amount) VALUES ($1, $2, $3)
      RETURNING payment_id`, [item, order, amount]);
  }

  settlePayment(payment) {
    return this.one('settle_payment',
      'SELECT state, order_state FROM shop.settle_payment($1)', [payment], { repeat: true });
  }

  refunds() {
    return this.run('refunds', `
      SELECT payment_id FROM shop.payments WHERE state = 'refund'
      ORDER BY created_at LIMIT 100`);
  }

  refunded(payment) {
    return this.run('refunded',
      'UPDATE shop.payments SET state = \'refunded\' WHERE payment_id = $1', [payment]);
  }

  // Call back for each notification of a channel, for ever.  Notifications that
  // come while the connection is away are lost: back is called after each.
  async listen(channel, onNotify, onBack) {
    while (!this.closed) {
      const client = new pg.Client(this.server);
      const ended = new Promise((resolve) => {
        client.on('end', resolve);
        client.on('error', resolve);
      });

      client.on('notification', (n) => onNotify(n.payload));
      try {
        await client.connect();
        await client.query(`LISTEN ${channel}`);
        this.listener = client;
        onBack();
        await ended;
      } catch (error) {
        this.log.warn({ message: error.message }, 'listen');
      }
      client.end().catch(() => {});
      if (!this.closed)
        await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }

  async close() {
    this.closed = true;
    await this.listener?.end().catch(() => {});
    await this.pool.end();
  }
}
