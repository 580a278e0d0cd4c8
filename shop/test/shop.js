// What the tests share: clients of the shop, its database, its processes.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import pg from 'pg';
import { solveChallenge } from 'altcha-lib';
import { deriveKey } from 'altcha-lib/algorithms/pbkdf2';
import { Webhook } from 'standardwebhooks';
import { publish } from '../pages/publish.js';

pg.types.setTypeParser(20, Number);

export const run = process.env.SHOP_RUN;
export const port = Number(process.env.SHOP_PORT);
export const answers = [];      // of all clients, for the comparison with openapi.json

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Wait until a condition holds, or fail.
export async function until(what, condition, ms = 60000) {
  const end = performance.now() + ms;

  for (;;) {
    const value = await condition();

    if (value)
      return value;
    assert.ok(performance.now() < end, `waited in vain: ${what}`);
    await pause(20);
  }
}

//
// The database, as its superuser
//

let pool = null;

export function sql(text, values) {
  pool ??= new pg.Pool({ host: process.env.PGHOST, port: 5432, user: 'postgres', database: 'shop', max: 2 });
  pool.removeAllListeners('error');
  pool.on('error', () => {});
  return pool.query(text, values).then((result) => result.rows);
}

let lastItem = 1000 + Math.floor(Math.random() * 1e6) * 10;

// An item on sale with pages of its own; settings are columns of seckill.items
// and shop.goods.
export async function makeItem({ path: way = 'lane', kind = 'item', ...settings } = {}) {
  const item = ++lastItem;
  const row = { item_id: item, title: 'test', stock: 10, pay_within: '5 minutes', ...settings };
  const columns = Object.keys(row);

  await sql(`INSERT INTO seckill.items (${columns})
    VALUES (${columns.map((_, i) => `$${i + 1}`)})`, Object.values(row));
  await sql(`INSERT INTO shop.goods (item_id, title_en, title_zh, text_en, text_zh, picture, amount, path, kind)
    VALUES ($1, 'Phone', '手机', 'At half the price.', '半价。', 'phone.svg', $4, $2, $3)`,
  [item, way, kind, ['item', 'seats'].includes(kind) ? 199900 : 0]);
  return item;
}

export const soon = (seconds) => new Date(Date.now() + seconds * 1000);

// An item of numbered units, worth what makeUnit(number) says.
export async function makeUnits(count, makeUnit, settings = {}) {
  const item = await makeItem({ stock: count, numbered: true, reveal_on: 'pending', pay_within: null, ...settings });

  for (let number = 1; number <= count; number++) {
    const { code = null, prize = null, amount = null } = makeUnit(number);

    await sql('INSERT INTO seckill.units (item_id, unit, code, prize, amount) VALUES ($1, $2, $3, $4, $5)',
      [item, number, code, prize, amount]);
  }
  return item;
}

// A hall of so many rows of six seats.
export async function makeHall(rows, settings = {}) {
  const item = await makeItem({ stock: 0, legs: 1, kind: 'seats', ...settings });

  await sql(`INSERT INTO seckill.seats (item_id, seat, block, car, label)
    SELECT $1, 6 * r + s, r, 0, chr(65 + r) || s
    FROM generate_series(0, $2::integer - 1) r, generate_series(1, 6) s`, [item, rows]);
  return item;
}

// Pages of these items beside those that are there.
export async function makePages(items) {
  const [{ goods }] = await sql(`SELECT json_agg(g) AS goods
    FROM (SELECT * FROM shop.goods JOIN seckill.items USING (item_id) WHERE item_id = ANY ($1)) g`, [items]);

  publish(goods, path.join(run, 'web'));
}

export async function audit() {
  assert.deepEqual(await sql(`SELECT * FROM seckill_audit()
    WHERE difference <> 0 OR twice <> '{}' OR foreign_numbers <> '{}' OR missing <> 0 OR double_sold <> 0`), []);
  assert.deepEqual(await sql('SELECT * FROM seckill_audit_seats() WHERE sold_twice <> 0 OR different <> 0'), []);
}

export async function orders(item) {
  return sql('SELECT * FROM seckill.orders WHERE item_id = $1 ORDER BY order_id', [item]);
}

// Lock something in a transaction; returns the function that ends it.
export async function lock(statement, values) {
  const locker = new pg.Client({ host: process.env.PGHOST, port: 5432, user: 'postgres', database: 'shop' });

  await locker.connect();
  await locker.query('BEGIN');
  await locker.query(statement, values);
  return () => locker.end();
}

//
// Clients
//

const agent = new http.Agent({ keepAlive: true, maxSockets: 300 });
const address = () => [10, ...Array.from({ length: 3 }, () => Math.floor(Math.random() * 254) + 1)].join('.');

export function send(method, url, { headers = {}, body, at = port } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port: at, path: url, method, headers, agent }, (response) => {
      const chunks = [];

      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const json = /json/.test(response.headers['content-type']);
        const answer = {
          method, url, status: response.statusCode, headers: response.headers, text,
          body: json && text ? JSON.parse(text) : undefined,
        };

        answers.push(answer);
        resolve(answer);
      });
    });

    request.on('error', reject);
    request.end(body);
  });
}

// A browser of one person, at an address of their own unless told otherwise.
export class Client {
  constructor({ address: from = address() } = {}) {
    this.address = from;
    this.cookie = null;
  }

  async send(method, url, { headers = {}, body, json = method === 'POST' } = {}) {
    const answer = await send(method, url, {
      headers: {
        'X-Forwarded-For': this.address,
        ...(this.cookie && { Cookie: this.cookie }),
        ...(json && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: json ? JSON.stringify(body ?? {}) : body,
    });
    const [set] = answer.headers['set-cookie'] ?? [];

    if (set)
      this.cookie = set.split(';')[0];
    return answer;
  }

  get(url, options) {
    return this.send('GET', url, options);
  }

  post(url, body, options) {
    return this.send('POST', url, { body, ...options });
  }

  async logIn(name = 'Ann') {
    const { status, body } = await this.post('/api/session', { name });

    assert.equal(status, 201);
    this.user = body.user;
    return this;
  }

  // One try of a purchase.
  buy(item, { key = crypto.randomUUID(), token, retry = false, headers = {} } = {}) {
    return this.post(`/api/items/${item}/orders`, token ? { token } : {}, {
      headers: {
        ...(key && { 'Idempotency-Key': key }),
        ...(retry && { 'Purchase-Retry': '?1' }),
        ...headers,
      },
    });
  }

  async solve(item) {
    const { status, body: challenge } = await this.get(`/api/items/${item}/challenge`);

    assert.equal(status, 200, `challenge of ${item}`);

    const solution = await solveChallenge({ challenge, deriveKey });

    return Buffer.from(JSON.stringify({ challenge, solution })).toString('base64');
  }

  async pass(item) {
    const { status, body } = await this.post(`/api/items/${item}/pass`, { altcha: await this.solve(item) });

    assert.equal(status, 201);
    return body.token;
  }

  state(item) {
    return this.get(`/api/items/${item}`).then(({ body }) => body);
  }
}

export const client = (options) => new Client(options).logIn();

// A signed message as the provider sends it.
export function webhook(payment, { at = new Date(), secret = process.env.SHOP_WEBHOOK_SECRET, id = 'msg_1' } = {}) {
  const body = JSON.stringify({ type: 'payment.succeeded', data: { id: payment } });

  return send('POST', '/api/webhooks/payment', {
    headers: {
      'Content-Type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at / 1000)),
      'webhook-signature': new Webhook(secret).sign(id, at, body),
    },
    body,
  });
}

//
// Processes
//

export const pid = (name) => Number(fs.readFileSync(path.join(run, 'run', `${name}.pid`), 'utf8'));

function lives(process_) {
  try {
    process.kill(process_, 0);
    // a child of ours that nobody has waited for is dead
    return !/^State:\s+Z/m.test(fs.readFileSync(`/proc/${process_}/status`, 'utf8'));
  } catch {
    return false;
  }
}

// Send a signal, and wait for the end.
export async function stop(name, signal = 'SIGTERM') {
  const process_ = pid(name);

  process.kill(process_, signal);
  await until(`end of ${name}`, () => !lives(process_));
}

export async function start(name) {
  const [command, ...args] = process.env.SHOP_AS.split(' ').filter(Boolean)
    .concat(['bash', path.join(run, 'run', `${name}.sh`)]);
  const log = fs.openSync(path.join(run, 'log', `${name}.log`), 'a');
  const child = spawn(command, args, { detached: true, stdio: ['ignore', log, log] });

  child.unref();
  fs.writeFileSync(path.join(run, 'run', `${name}.pid`), String(child.pid));
  fs.closeSync(log);
}

export const health = (instance) => send('GET', `/health/${instance}`, { at: port + 1 })
  .then(({ status }) => status, () => 0);

export async function ready() {
  for (const instance of [1, 2])
    await until(`instance ${instance}`, async () => await health(instance) === 200);
}

// How many statements both instances have sent, by name.
export async function statements() {
  const sum = {};

  for (const instance of [1, 2]) {
    const { text } = await send('GET', `/metrics/${instance}`, { at: port + 1 });

    for (const [, name, count] of text.matchAll(/^shop_statements_total\{name="(\w+)"\} (\d+)/gm))
      sum[name] = (sum[name] ?? 0) + Number(count);
  }
  return sum;
}

export async function end() {
  agent.destroy();
  await pool?.end();
}
