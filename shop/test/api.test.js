// The API, through nginx.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import fs from 'node:fs';
import { makeOpenapi } from '../service/openapi.js';
import {
  Client, answers, audit, client, end, lock, makeHall, makeItem, makeUnits, orders, pause, send, soon, sql, start, stop, ready, until,
  webhook,
} from './shop.js';

after(async () => {
  await audit();
  await end();
});

// An answer is a problem of this status and name.
function isProblem(answer, status, name) {
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.headers['content-type'], /^application\/problem\+json/);
  assert.equal(answer.body.type, `/problems/${name}`);
  assert.equal(answer.body.status, status);
  assert.equal(answer.headers['cache-control'], 'no-store');
}

function comesBack(answer, from = 1, to = from) {
  const after_ = Number(answer.headers['retry-after']);

  assert.ok(after_ >= from && after_ <= to, `Retry-After: ${after_}`);
}

const statuses = (list) => list.map(({ status }) => status).sort();

test('a purchase without a key is 400', async () => {
  const item = await makeItem();
  const ann = await client();

  isProblem(await ann.buy(item, { key: null }), 400, 'key-missing');
  isProblem(await ann.buy(item, { key: 'one' }), 400, 'key-malformed');
  isProblem(await new Client().buy(item), 401, 'not-logged-in');
  isProblem(await ann.buy(999999999), 404, 'not-found');
  assert.equal((await orders(item)).length, 0);
});

test('quoted and bare keys are the same', async () => {
  const item = await makeItem();
  const ann = await client();
  const key = crypto.randomUUID();
  const first = await ann.buy(item, { key });
  const second = await ann.buy(item, { key: `"${key.toUpperCase()}"`, retry: true });

  assert.equal(first.status, 201);
  assert.equal(first.headers.location, `/api/items/${item}/orders/${first.body.order}`);
  assert.equal(first.headers['cache-control'], 'no-store');
  assert.deepEqual(second.body, first.body);
  assert.equal((await orders(item)).length, 1);
});

test('the same key ten times at once is one order', async () => {
  const item = await makeItem();
  const ann = await client();
  const key = crypto.randomUUID();
  const tries = await Promise.all(Array.from({ length: 5 }, (_, i) => ann.buy(item, { key, retry: i > 0 })));

  await pause(2600);      // the session's rate
  tries.push(...await Promise.all(Array.from({ length: 5 }, () => ann.buy(item, { key, retry: true }))));
  assert.deepEqual(statuses(tries), Array(10).fill(201));
  assert.equal(new Set(tries.map(({ body }) => body.order)).size, 1);
  assert.equal((await orders(item)).length, 1);
});

test('a quantity is bought as a whole; a retry has the same', async () => {
  const item = await makeItem({ stock: 5, per_user_limit: 4 });
  const ann = await client();
  const key = crypto.randomUUID();
  const buy = (quantity, headers) => ann.post(`/api/items/${item}/orders`, { quantity },
    { headers: { 'Idempotency-Key': key, 'Purchase-Retry': '?1', ...headers } });
  const { body: { order } } = await buy(3);

  assert.equal((await buy(3)).body.order, order);
  isProblem(await buy(2), 409, 'request-reused');
  isProblem(await ann.post(`/api/items/${item}/orders`, { quantity: 0 },
    { headers: { 'Idempotency-Key': key } }), 400, 'bad-request');
  assert.deepEqual((await orders(item)).map(({ quantity }) => quantity), [3]);
});

test('too few for one buyer is not sold out for the others', async () => {
  const item = await makeItem({ stock: 2 });
  const [ann, bob] = [await client(), await client()];

  isProblem(await ann.post(`/api/items/${item}/orders`, { quantity: 3 },
    { headers: { 'Idempotency-Key': crypto.randomUUID() } }), 409, 'sold-out');
  assert.equal((await bob.buy(item)).status, 201);
});

test('one key of two users makes two orders', async () => {
  const item = await makeItem();
  const key = crypto.randomUUID();
  const tries = await Promise.all((await Promise.all([client(), client()])).map((one) => one.buy(item, { key })));

  assert.deepEqual(statuses(tries), [201, 201]);
  assert.equal((await orders(item)).length, 2);
});

test('no pass is 403, a pass for another item or user is 403', async () => {
  const [item, other] = [await makeItem({ require_token: true }), await makeItem({ require_token: true })];
  const [ann, bob] = [await client(), await client()];

  isProblem(await ann.buy(item), 403, 'denied');
  isProblem(await ann.buy(item, { token: await ann.pass(other) }), 403, 'denied');
  isProblem(await ann.buy(item, { token: await bob.pass(item) }), 403, 'denied');
  isProblem(await ann.buy(item, { token: 'forged' }), 403, 'denied');
  assert.equal((await ann.buy(item, { token: await ann.pass(item) })).status, 201);
});

test('a solution for another item or user, forged or malformed, is no pass', async () => {
  const [item, other] = [await makeItem(), await makeItem()];
  const [ann, bob] = [await client(), await client()];
  const altcha = await ann.solve(item);
  const forged = JSON.parse(Buffer.from(altcha, 'base64'));

  forged.challenge.parameters.data.item = other;

  const give = (who, where, text) => who.post(`/api/items/${where}/pass`, { altcha: text });

  isProblem(await give(ann, other, altcha), 403, 'pass-invalid');
  isProblem(await give(bob, item, altcha), 403, 'pass-invalid');
  isProblem(await give(ann, other, Buffer.from(JSON.stringify(forged)).toString('base64')), 403, 'pass-invalid');
  isProblem(await give(ann, item, 'nonsense'), 403, 'pass-invalid');
  assert.equal((await give(ann, item, altcha)).status, 201);
});

test('a solution used by 20 at once passes one', async () => {
  const item = await makeItem();
  const ann = await client();
  const altcha = await ann.solve(item);
  const give = () => ann.post(`/api/items/${item}/pass`, { altcha });
  // five a burst: the session's rate refuses the others
  const tries = await Promise.all(Array.from({ length: 20 }, give));
  const count = (status) => tries.filter((answer) => answer.status === status).length;

  assert.equal(count(201), 1);
  assert.equal(count(201) + count(403) + count(429), 20);
  assert.ok(count(403) >= 3);
  tries.filter(({ status }) => status === 403)
    .forEach(({ body }) => assert.equal(body.detail, 'replayed'));
});

test('a challenge is refused before its hour with Retry-After', async () => {
  const ann = await client();
  const early = await ann.get(`/api/items/${await makeItem({ starts_at: soon(100) })}/challenge`);

  isProblem(early, 409, 'not-started');
  comesBack(early, 20, 40);
  assert.equal((await ann.get(`/api/items/${await makeItem({ starts_at: soon(50) })}/challenge`)).status, 200);
  isProblem(await ann.get(`/api/items/${await makeItem({ stock: 0 })}/challenge`), 409, 'sold-out');
  isProblem(await new Client().get('/api/items/1/challenge'), 401, 'not-logged-in');
});

test('a pass made before the start is good after it', async () => {
  const item = await makeItem({ require_token: true, starts_at: soon(50) });
  const ann = await client();
  const token = await ann.pass(item);

  isProblem(await ann.buy(item, { token }), 409, 'not-started');
  await sql('UPDATE seckill.items SET starts_at = now() WHERE item_id = $1', [item]);
  await until('the start', () => ann.state(item).then(({ state }) => state === 'on_sale'));
  assert.equal((await ann.buy(item, { token })).status, 201);
});

test('outside the window is 409', async () => {
  const ann = await client();
  const early = await ann.buy(await makeItem({ starts_at: soon(50) }));

  isProblem(early, 409, 'not-started');
  comesBack(early, 20, 50);
  isProblem(await ann.buy(await makeItem({ ends_at: soon(-1) })), 409, 'ended');
});

test('sold out is 409 from the cache, and a retry of a buyer gets the order at the same moment', async () => {
  const item = await makeItem({ stock: 1 });
  const [ann, bob, cho] = await Promise.all([client(), client(), client()]);
  const key = crypto.randomUUID();
  const { body: { order } } = await ann.buy(item, { key });

  isProblem(await bob.buy(item), 409, 'sold-out');

  const seen = (await sql('SELECT sum(sold_out) FROM seckill.stat_items WHERE item_id = $1', [item]))[0].sum;
  const begin = performance.now();

  for (let i = 0; i < 3; i++)
    isProblem(await cho.buy(item), 409, 'sold-out');

  const now = (await sql('SELECT sum(sold_out) FROM seckill.stat_items WHERE item_id = $1', [item]))[0].sum;

  // the answer is kept for a second
  assert.ok(now - seen <= 1 + Math.ceil((performance.now() - begin) / 1000), 'the database was not asked each time');

  const again = await ann.buy(item, { key, retry: true });

  assert.equal(again.status, 201);
  assert.equal(again.body.order, order);
});

test('limit is 409', async () => {
  const item = await makeItem({ per_user_limit: 1 });
  const ann = await client();

  assert.equal((await ann.buy(item)).status, 201);
  isProblem(await ann.buy(item), 409, 'limit-reached');
});

test('50 keys of one user with a limit make one order', async () => {
  const item = await makeItem({ per_user_limit: 1, stock: 100 });
  const ann = await client();
  const tries = await Promise.all(Array.from({ length: 50 }, () => ann.buy(item)));

  assert.equal((await orders(item)).length, 1);
  assert.equal(tries.filter(({ status }) => status === 201).length, 1);
});

test('an order of somebody else is 404', async () => {
  const item = await makeItem();
  const [ann, bob] = [await client(), await client()];
  const { headers: { location }, body: { order } } = await ann.buy(item);
  const { body } = await ann.get(location);

  assert.equal(body.state, 'pending');
  assert.equal(body.amount, 199900);
  assert.deepEqual((await ann.get('/api/orders')).body, [body]);
  isProblem(await bob.get(location), 404, 'not-found');
  isProblem(await bob.post(`${location}/cancel`), 404, 'not-found');
  isProblem(await bob.post(`${location}/payment`), 404, 'not-found');
  assert.deepEqual((await bob.get('/api/orders')).body, []);
  assert.equal((await orders(item))[0].order_id, order);
});

test('the order of a key', async () => {
  const item = await makeItem();
  const [ann, bob] = [await client(), await client()];
  const key = crypto.randomUUID();
  const { body: { order } } = await ann.buy(item, { key });
  const find = (who, k = key) => who.get(`/api/orders?item=${item}&key=${k}`);

  assert.equal((await find(ann)).body[0].order, order);
  assert.deepEqual((await find(ann, crypto.randomUUID())).body, []);
  assert.deepEqual((await find(bob)).body, []);
  isProblem(await find(ann, 'one'), 400, 'key-malformed');
});

// A payment of a new order: {location, id, pay, state}
async function beginPayment(ann, item) {
  const { headers: { location } } = await ann.buy(item);
  const { status, body } = await ann.post(`${location}/payment`, { language: 'en' });

  assert.equal(status, 201);

  const id = body.location.split('/').at(-1);

  return {
    location, id,
    pay: (options) => webhook(id, options),
    press: (action) => ann.send('POST', `${body.location}/${action}`, {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, json: false,
    }),
    page: () => ann.get(body.location),
    order: () => ann.get(location).then((answer) => answer.body),
  };
}

const expire = (item) => sql('UPDATE seckill.orders SET pay_by = now() WHERE item_id = $1 AND state = \'pending\'', [item]);

test('cancel', async () => {
  const item = await makeItem({ stock: 1 });
  const ann = await client();
  const { headers: { location } } = await ann.buy(item);

  for (let i = 0; i < 2; i++)
    assert.deepEqual((await ann.post(`${location}/cancel`)).body, { state: 'cancelled' });
  assert.equal((await ann.buy(item)).status, 201, 'the unit is back');
});

test('pay', async () => {
  const ann = await client();
  const payment = await beginPayment(ann, await makeItem());

  assert.equal((await payment.order()).payment, 'open');
  assert.equal((await payment.press('pay')).status, 303);

  const order = await payment.order();

  assert.equal(order.state, 'confirmed');
  assert.equal(order.payment, 'confirmed');
  isProblem(await ann.post(`${payment.location}/cancel`), 409, 'confirmed');
  isProblem(await ann.post(`${payment.location}/payment`), 409, 'confirmed');
});

test('pay twice: the second payment is sent back', async () => {
  const ann = await client();
  const item = await makeItem();
  const one = await beginPayment(ann, item);
  const { body } = await ann.post(`${one.location}/payment`);
  const other = body.location.split('/').at(-1);
  const settled = await Promise.all([webhook(one.id), webhook(other)]);

  assert.deepEqual(settled.map((answer) => answer.body.state).sort(), ['confirmed', 'refund']);
  await until('the refund', async () => (await sql(
    'SELECT FROM shop.payments WHERE item_id = $1 AND state = \'refunded\'', [item])).length === 1);
});

test('pay late with units left: confirmed', async () => {
  const ann = await client();
  const item = await makeItem();
  const payment = await beginPayment(ann, item);

  await expire(item);
  await until('expiry', async () => (await payment.order()).state === 'expired');
  assert.deepEqual((await payment.pay()).body, { state: 'confirmed' });
  assert.equal((await payment.order()).state, 'confirmed');
});

test('pay late without units left: sent back', async () => {
  const [ann, bob] = [await client(), await client()];
  const item = await makeItem({ stock: 1 });
  const payment = await beginPayment(ann, item);

  await expire(item);
  await until('expiry', async () => (await payment.order()).state === 'expired');
  assert.equal((await bob.buy(item, { retry: true })).status, 201);
  assert.deepEqual((await payment.pay()).body, { state: 'refund' });
  await until('the refund', async () => (await payment.order()).payment === 'refunded');
  assert.match((await payment.page()).text, /sent back/);
  assert.equal((await payment.order()).state, 'expired');
  assert.deepEqual((await payment.pay()).body, { state: 'refunded' }, 'again');
});

test('pay a cancelled order: sent back', async () => {
  const ann = await client();
  const payment = await beginPayment(ann, await makeItem());

  await ann.post(`${payment.location}/cancel`);
  assert.deepEqual((await payment.pay()).body, { state: 'refund' });
});

test('webhook: forged, stale, replayed, of nothing', async () => {
  const ann = await client();
  const payment = await beginPayment(ann, await makeItem());
  const forged = `whsec_${Buffer.from('another secret').toString('base64')}`;

  isProblem(await payment.pay({ secret: forged }), 401, 'webhook-forged');
  isProblem(await payment.pay({ at: soon(-600) }), 400, 'webhook-stale');
  isProblem(await send('POST', '/api/webhooks/payment',
    { headers: { 'Content-Type': 'application/json' }, body: '{}' }), 400, 'webhook-stale');
  assert.equal((await payment.order()).state, 'pending');
  isProblem(await webhook(crypto.randomUUID()), 404, 'not-found');
  for (let i = 0; i < 2; i++)
    assert.deepEqual((await payment.pay()).body, { state: 'confirmed' });
  assert.equal((await sql('SELECT FROM shop.payments WHERE payment_id = $1', [payment.id])).length, 1);
});

test('the provider sends its message twice: one confirmation', async () => {
  const ann = await client();
  const payment = await beginPayment(ann, await makeItem());

  await payment.press('twice');
  assert.equal((await payment.order()).payment, 'confirmed');
});

test('form-encoded and cross-site posts are refused', async () => {
  const item = await makeItem();
  const ann = await client();
  const headers = { 'Idempotency-Key': crypto.randomUUID() };
  const url = `/api/items/${item}/orders`;

  isProblem(await ann.send('POST', url, {
    json: false, body: 'token=', headers: { ...headers, 'Content-Type': 'application/x-www-form-urlencoded' },
  }), 415, 'not-json');
  isProblem(await ann.send('POST', url, {
    json: false, body: '{}', headers: { ...headers, 'Content-Type': 'text/plain' },
  }), 415, 'not-json');
  isProblem(await ann.buy(item, { headers: { 'Sec-Fetch-Site': 'cross-site' } }), 403, 'cross-site');
  isProblem(await ann.post(url, { token: 1, more: 2 }, { headers }), 400, 'bad-request');
  isProblem(await ann.post(url, { token: 'x'.repeat(5000) }, { headers }), 413, 'too-large');
  assert.equal((await orders(item)).length, 0);
});

test('a cookie that is forged, old or of nobody is 401', async () => {
  const eve = new Client();

  for (const cookie of ['session=1.2.QQ', 'session=1.9999999999.QQ.forged', 'session=']) {
    eve.cookie = cookie;
    isProblem(await eve.get('/api/session'), 401, 'not-logged-in');
    isProblem(await eve.buy(await makeItem()), 401, 'not-logged-in');
  }
});

// Buy by ticket, and wait for the decision.
async function byTicket(who, item, options = {}) {
  const answer = await who.buy(item, { ...options, headers: { Prefer: 'respond-async' } });

  assert.equal(answer.status, 202, answer.text);
  assert.equal(answer.headers['preference-applied'], 'respond-async');
  assert.equal(answer.headers.location, answer.body.ticket);
  return answer.body.ticket;
}

test('202, long poll, order', async () => {
  const item = await makeItem({ stock: 1 });
  const [ann, bob] = [await client(), await client()];
  const ticket = await byTicket(ann, item);
  const decision = await ann.get(ticket);

  assert.equal(decision.status, 201);
  assert.equal(decision.headers.location, `/api/items/${item}/orders/${decision.body.order}`);
  assert.deepEqual((await ann.get(ticket)).body, decision.body, 'again');
  isProblem(await bob.get(ticket), 404, 'not-found');
  isProblem(await ann.get(`${ticket.slice(0, -2)}xx`), 404, 'not-found');
  isProblem(await bob.get(await byTicket(bob, item)), 409, 'sold-out');
});

test('an item of the queue answers 202 without being asked to', async () => {
  const item = await makeItem({ path: 'queue' });
  const ann = await client();
  const answer = await ann.buy(item);

  assert.equal(answer.status, 202);
  assert.equal((await ann.get(answer.body.ticket)).status, 201);
});

test('tickets that wait are told by a notification', async () => {
  const item = await makeItem({ stock: 3 });
  const crowd = await Promise.all(Array.from({ length: 10 }, () => client()));
  const locker = await makeLock(item);
  const tickets = await Promise.all(crowd.map((one) => byTicket(one, item)));
  const waiting = Promise.all(crowd.map((one, i) => one.get(tickets[i])));

  await pause(300);
  await locker();

  const decided = await waiting;

  assert.deepEqual(statuses(decided), [...Array(3).fill(201), ...Array(7).fill(409)]);
});

const makeLock = (item) => lock('SELECT FROM seckill.items WHERE item_id = $1 FOR UPDATE', [item]);

test('a ticket survives a restart of both instances', async () => {
  const item = await makeItem();
  const ann = await client();
  const unlock = await makeLock(item);
  const ticket = await byTicket(ann, item);

  for (const instance of ['service1', 'service2']) {
    await stop(instance);
    await start(instance);
    await ready();
  }
  await unlock();
  assert.equal((await ann.get(ticket)).status, 201);
});

test('a ticket that the database has forgotten: the order is found', async () => {
  const item = await makeItem();
  const ann = await client();
  const key = crypto.randomUUID();
  const ticket = await byTicket(ann, item, { key });
  const { body } = await ann.get(ticket);

  // the queue remembers 4096 purchases
  const other = await makeItem({ stock: 100000 });

  for (let sent = 0; sent < 4200;) {
    const rows = await sql(`SELECT outcome FROM seckill_submit_many(
      array_fill($1::bigint, ARRAY[500]), array_fill(1::bigint, ARRAY[500]))`, [other]);

    sent += rows.filter(({ outcome }) => outcome === 'queued').length;
  }

  await assert.rejects(sql('SELECT seckill_result($1)', [ticket.split('/').at(-1).split('.')[2]]),
    { code: '55000' });

  const again = await ann.get(ticket);

  assert.equal(again.status, 201);
  assert.deepEqual(again.body, body);
});

test('a claim tells what the unit is worth, and a retry the same', async () => {
  const item = await makeUnits(2, (n) => ({ code: `CODE-${n}`, prize: n, amount: 100 * n }), { kind: 'coupon' });
  const [ann, bob, cho] = await Promise.all([client(), client(), client()]);
  const key = crypto.randomUUID();
  const { status, body, headers: { location } } = await ann.buy(item, { key });

  assert.equal(status, 201);

  const { unit } = body.unit;

  assert.deepEqual(body.unit, { unit, code: `CODE-${unit}`, prize: unit, amount: 100 * unit });
  assert.deepEqual((await ann.buy(item, { key, retry: true })).body, body);
  assert.deepEqual((await ann.get(location)).body.unit, body.unit);
  isProblem(await bob.get(location), 404, 'not-found');

  const other = await bob.buy(item);

  assert.equal(other.body.unit.unit, 3 - unit);
  isProblem(await cho.buy(item), 409, 'sold-out');
});

test('a claim by ticket: the order tells the unit', async () => {
  const item = await makeUnits(1, () => ({ amount: 888 }), { kind: 'envelope' });
  const ann = await client();
  const { headers: { location } } = await ann.get(await byTicket(ann, item));

  assert.equal((await ann.get(location)).body.unit.amount, 888);
});

test('a hundred claims at once: each unit once', async () => {
  const item = await makeUnits(20, (n) => ({ amount: n }), { kind: 'envelope' });
  const crowd = await Promise.all(Array.from({ length: 100 }, () => client()));
  const told = (await Promise.all(crowd.map((one) => one.buy(item)))).filter(({ status }) => status === 201);

  assert.deepEqual(told.map(({ body }) => body.unit.amount).sort((a, b) => a - b),
    Array.from({ length: 20 }, (_, i) => i + 1));
});

test('a seat is booked by name; who is late is told so', async () => {
  const item = await makeHall(2, { per_user_limit: 2 });
  const [ann, bob] = [await client(), await client()];
  const key = crypto.randomUUID();
  const book = (who, seats, options) => who.post(`/api/items/${item}/orders`, { seats },
    { headers: { 'Idempotency-Key': crypto.randomUUID(), ...options } });
  const first = await book(ann, [3, 4], { 'Idempotency-Key': key });

  assert.equal(first.status, 201);
  isProblem(await book(bob, [4]), 409, 'seat-taken');
  assert.deepEqual((await book(ann, [3, 4], { 'Idempotency-Key': key, 'Purchase-Retry': '?1' })).body, first.body);
  assert.equal((await book(bob, [5])).status, 201);
  isProblem(await book(bob, [99]), 400, 'bad-request');
  assert.deepEqual((await ann.get(first.headers.location)).body.seats, ['A3', 'A4']);

  const { body: { seats }, headers } = await send('GET', `/api/items/${item}/seats`);

  assert.equal(headers['cache-control'], 'public, max-age=1, stale-while-revalidate=5, stale-if-error=60');
  assert.deepEqual(seats.filter(({ state }) => state === 'taken').map(({ label }) => label), ['A3', 'A4', 'A5']);
  assert.equal(seats.length, 12);
  isProblem(await send('GET', `/api/items/${await makeItem()}/seats`), 404, 'not-found');
});

test('a hundred people at 12 seats: each seat once', async () => {
  const item = await makeHall(2);
  const crowd = await Promise.all(Array.from({ length: 100 }, () => client()));
  const tries = await Promise.all(crowd.map((one, i) => one.post(`/api/items/${item}/orders`, { seats: [1 + i % 12] },
    { headers: { 'Idempotency-Key': crypto.randomUUID() } })));

  assert.equal(tries.filter(({ status }) => status === 201).length, 12);
  await until('the state', async () => (await crowd[0].state(item)).state === 'sold_out');
  assert.equal((await crowd[0].state(item)).left, 0);
  assert.ok(tries.filter(({ status }) => status !== 201).every(({ body }) => (
    ['seat_taken', 'sold_out'].includes(body.outcome))), JSON.stringify(tries.map(({ body }) => body)));
  assert.equal((await orders(item)).length, 12);
});

test('openapi.json is up to date and every answer of this run fits it', async () => {
  const file = new URL('../openapi.json', import.meta.url);
  const text = await makeOpenapi();

  assert.equal(fs.readFileSync(file, 'utf8'), text, 'run: npm run openapi > openapi.json');

  const ajv = new Ajv({ strict: false });
  const document = JSON.parse(text);

  addFormats.default?.(ajv) ?? addFormats(ajv);
  ajv.addSchema(document, 'openapi');

  let compared = 0;

  for (const { method, url, status, body } of answers) {
    const found = Object.keys(document.paths).find((route) => (
      new RegExp(`^${route.replace(/\{\w+\}/g, '[^/]+')}$`).test(url.split('?')[0])));
    const operation = document.paths[found]?.[method.toLowerCase()];

    if (!operation || !body)
      continue;

    const answer = operation.responses[status] ?? operation.responses[`${String(status)[0]}XX`];

    assert.ok(answer, `${method} ${url}: ${status} is not in openapi.json`);

    const { schema } = Object.values(answer.content)[0];

    assert.ok(ajv.validate(JSON.parse(JSON.stringify(schema).replaceAll('"#/', '"openapi#/')), body),
      `${method} ${url}: ${ajv.errorsText()}`);
    compared++;
  }
  assert.ok(compared > 50, `${compared} answers`);
});
