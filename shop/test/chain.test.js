// The chain: what each layer keeps, and what happens when a part of it dies.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, test } from 'node:test';
import {
  Client, audit, client, end, health, makeItem, lock, orders, pause, pid, port, ready, run, send, sql, start,
  statements, stop, until,
} from './shop.js';

afterEach(audit);
after(end);

const person = () => ({ 'X-Forwarded-For': new Client().address });

// What this costs: statements, but for those that the clock makes.
async function cost(action) {
  const sum = ({ refunds, alive, forget_challenges: forget, ...all }) => (
    Object.values(all).reduce((a, b) => a + b, 0));
  const before = sum(await statements());
  const begin = performance.now();

  await action();

  const seconds = (performance.now() - begin) / 1000;

  return { total: sum(await statements()) - before, seconds };
}

// Do something many times, some at once.
async function many(times, atOnce, action) {
  let left = times;
  const results = [];

  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (left-- > 0)
      results.push(await action());
  }));
  return results;
}

test('F5 storm: 2,000 reloads cost at most 3 queries a second', async () => {
  const item = await makeItem();
  const reload = async () => [
    await send('GET', '/en/items/1/', { headers: person() }),
    await send('GET', `/api/items/${item}?_=${Math.random()}`, { headers: person() }),
    await send('GET', '/api/time', { headers: person() }),
  ];
  let answers = null;
  const { total, seconds } = await cost(async () => {
    answers = (await many(2000, 50, reload)).flat();
  });

  assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  assert.ok(total <= 3 * Math.ceil(seconds) + 3, `${total} statements in ${seconds} s`);
});

test('cached answers carry no Set-Cookie, whoever asks first', async () => {
  const item = await makeItem();
  const [ann, bob] = [await client(), await client()];
  const answers = [await ann.get(`/api/items/${item}`), await bob.get(`/api/items/${item}`),
    await send('GET', `/api/items/${item}`)];

  for (const { headers, status, body } of answers) {
    assert.equal(status, 200);
    assert.equal(headers['set-cookie'], undefined);
    assert.deepEqual(body, answers[0].body);
  }
});

test('only marked answers are stored', async () => {
  const item = await makeItem({ stock: 1 });
  const files = () => fs.readdirSync(path.join(run, 'cache/answers'), { recursive: true })
    .filter((name) => /[0-9a-f]{32}$/.test(name))
    .map((name) => fs.readFileSync(path.join(run, 'cache/answers', name), 'latin1'))
    .filter((text) => text.includes(`KEY: /api/items/${item}/`));
  const people = await Promise.all(Array.from({ length: 4 }, () => client()));

  await people[0].buy(item, { key: null });         // 400
  await people[0].buy(item);                        // 201
  await people[1].buy(item, { headers: { 'Sec-Fetch-Site': 'cross-site' } });
  await new Client().buy(item);                     // 401
  assert.deepEqual(files(), []);
  assert.equal((await people[1].buy(item)).status, 409);

  const kept = await until('the answer in the cache', () => (files().length > 0 ? files() : null));

  assert.equal(kept.length, 1);
  assert.match(kept[0], /\/problems\/sold-out/);
  assert.doesNotMatch(kept[0], /set-cookie|session=/i);
});

test('a restock is seen', async () => {
  const item = await makeItem({ stock: 1 });
  const [ann, bob] = [await client(), await client()];

  await ann.buy(item);
  await until('sold out', async () => (await ann.state(item)).state === 'sold_out');
  assert.equal((await bob.buy(item)).status, 409);

  const seen = await stream(item);

  await until('the first', () => seen.last());
  await sql('SELECT seckill_restock($1, 5)', [item]);
  await until('the stream', () => seen.last().state === 'on_sale');
  await until('the state', async () => (await ann.state(item)).state === 'on_sale');
  await until('a purchase', async () => (await (await client()).buy(item)).status === 201);
  seen.response.destroy();
});

// The events of a stream, until it is closed.
async function stream(item) {
  const { default: http } = await import('node:http');
  const events = [];
  const response = await new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.1', port, path: `/api/items/${item}/events`, headers: person() }, resolve)
      .on('error', reject);
  });
  let ended = false;

  response.setEncoding('utf8');
  response.on('data', (text) => events.push(text));
  response.on('close', () => {
    ended = true;
  });
  response.on('error', () => {});
  return {
    response,
    text: () => events.join(''),
    last: () => JSON.parse((events.join('').match(/data: (.*)/g) ?? ['data: null']).at(-1).slice(6)),
    ended: () => ended,
  };
}

test('a stream tells what changes, and nothing else', async () => {
  const item = await makeItem({ stock: 2 });
  const seen = await stream(item);

  assert.match(seen.response.headers['content-type'], /^text\/event-stream/);
  assert.equal(seen.response.headers['cache-control'], 'no-store');
  await until('the first', () => seen.last());
  assert.match(seen.text(), /^retry: [2-6]\d{3}\n/);
  await sql('SELECT seckill_buy($1, 1, quantity => 2)', [item]);
  await until('sold out', () => seen.last().state === 'sold_out');
  await pause(1200);
  assert.equal(seen.text().match(/event: item/g).length, 2);
  seen.response.destroy();
});

test('200 streams share the queries of one', async () => {
  const item = await makeItem();
  const all = await Promise.all(Array.from({ length: 200 }, () => stream(item)));

  await until('all', () => all.every((each) => each.last()));

  const { total, seconds } = await cost(() => pause(3000));

  // two queries a second for each of two instances
  assert.ok(total > 3 && total <= Math.ceil(seconds) * 4 + 2, `${total} statements in ${seconds} s`);
  all.forEach(({ response }) => response.destroy());
});

// The fewest refusals of twelve purchases of a session since then: five pass at once, and
// two more each second.
const fewest = (begin) => 6 - 2 * (performance.now() - begin) / 1000;

test('session over its rate is 429, 200 others of the same address are not', async () => {
  const item = await makeItem({ stock: 1000 });
  const { address } = new Client();
  const office = [];

  // logging in is limited by address, as there is no session yet
  for (let i = 0; i < 201; i++)
    office.push(await new Client().logIn());
  office.forEach((one) => {
    one.address = address;
  });

  const [eager, ...others] = office;
  const begin = performance.now();
  const tries = await Promise.all(Array.from({ length: 12 }, () => eager.buy(item)));
  const refused = tries.filter(({ status }) => status === 429);

  assert.equal(tries.filter(({ status }) => status === 201).length, 12 - refused.length);
  assert.ok(refused.length >= fewest(begin) && refused.length <= 7, `${refused.length} refused`);
  for (const { headers, body } of refused) {
    assert.equal(headers['retry-after'], '1');
    assert.match(headers['content-type'], /^application\/problem\+json/);
    assert.equal(body.outcome, 'rate_limited');
  }
  assert.deepEqual([...new Set((await Promise.all(others.map((one) => one.buy(item)))).map(({ status }) => status))],
    [201]);
});

test('a session is counted under both names of its cookie, no session by address', async () => {
  const item = await makeItem();
  const refused = async (cookie) => {
    const one = new Client();

    one.cookie = cookie;
    return (await Promise.all(Array.from({ length: 12 }, () => one.buy(item))))
      .filter(({ status }) => status === 429).length;
  };

  for (const cookie of ['a=b; session=forged', '__Host-session=forged; a=b']) {
    const begin = performance.now();

    assert.ok(await refused(cookie) >= fewest(begin), cookie);
  }
  assert.equal(await refused(null), 0);
  assert.equal(await refused('mysession=x'), 0);
});

test('the database limits who comes by several ways', async () => {
  const item = await makeItem({ user_rate: 0.001, user_burst: 3 });
  const ann = await client();
  const { user } = ann;
  const outcomes = await sql('SELECT outcome FROM seckill_buy_many($1, array_fill($2::bigint, ARRAY[5]))', [item, user]);

  assert.equal(outcomes.filter(({ outcome }) => outcome === 'rate_limited').length, 2);

  const refused = await ann.buy(item);

  assert.equal(refused.status, 429);
  assert.equal(refused.headers['retry-after'], '1');
});

test('static files need no instance, the state is served stale', async () => {
  const item = await makeItem();
  const ann = await client();
  const before = await ann.state(item);

  await stop('service1');
  await stop('service2');
  for (const url of ['/en/items/1/', '/zh/order/', '/api/time'])
    assert.equal((await ann.get(url)).status, 200);
  await pause(1200);

  const stale = await ann.get(`/api/items/${item}`);

  assert.equal(stale.status, 200);
  assert.deepEqual(stale.body, before);

  const refused = await ann.buy(item);

  assert.equal(refused.status, 503);
  assert.equal(refused.headers['retry-after'], '1');
  assert.equal(refused.body.outcome, 'uncertain');
  assert.equal((await ann.get('/api/orders')).status, 503);
  await start('service1');
  await start('service2');
  await ready();
});

// A crowd that buys all the time: each purchase is tried until its answer is
// certain.  stop() returns what was answered first, and the orders told.
async function crowd(item, people = 30) {
  const all = await Promise.all(Array.from({ length: people }, () => client()));
  const first = [];
  const told = new Map();       // order → user
  let running = true;
  const work = all.map(async (one) => {
    while (running) {
      const key = crypto.randomUUID();
      let answer = await one.buy(item, { key });

      first.push(answer);
      while (answer.status === 503 || answer.status === 429) {
        await pause(200);
        answer = await one.buy(item, { key, retry: true });
      }
      assert.equal(answer.status, 201, answer.text);
      assert.ok(!told.has(answer.body.order), 'an order is told to one buyer');
      told.set(answer.body.order, one.user);
      await pause(500);
    }
  });

  await pause(1000);
  return {
    async stop() {
      await until('purchases', () => first.length > 100);
      running = false;
      await Promise.all(work);

      const made = await orders(item);

      assert.equal(made.length, told.size, 'every order was told, and every told order is there');
      made.forEach((order) => assert.equal(told.get(order.order_id), order.user_id));
      return first;
    },
  };
}

// Nobody is told anything but yes, no or come again; returns the counts.
function count(first, allowed) {
  const counts = {};

  for (const { status, headers, text } of first) {
    counts[status] = (counts[status] ?? 0) + 1;
    assert.ok(allowed.includes(status), `${status}: ${text}`);
    if (status !== 201)
      assert.ok(headers['retry-after'], text);
  }
  return counts;
}

for (const signal of ['SIGKILL', 'SIGTERM']) {
  test(`${signal} of one instance under load: no failed purchase`, async () => {
    const item = await makeItem({ stock: 100000 });
    const buyers = await crowd(item);

    for (const instance of ['service1', 'service2']) {
      // with purchases on their way, which cannot end yet
      const unlock = await lock('LOCK TABLE seckill.orders IN SHARE MODE');

      await pause(600);

      const stopped = stop(instance, signal);

      await pause(100);
      await unlock();
      await stopped;
      await pause(500);
      await start(instance);
      await ready();
    }

    const counts = count(await buyers.stop(), [201]);

    assert.ok(counts[201] > 60, JSON.stringify(counts));
  });
}

test('an instance that hangs gets few purchases, and loses none', async () => {
  const item = await makeItem({ stock: 100000 });
  const buyers = await crowd(item);
  const hung = pid('service1');

  process.kill(hung, 'SIGSTOP');
  await pause(4000);
  process.kill(hung, 'SIGCONT');
  await ready();

  const counts = count(await buyers.stop(), [201, 503, 429]);

  assert.ok(counts[201] > 60, JSON.stringify(counts));
});

test('streams of a dead instance come back at the other one', async () => {
  const item = await makeItem();
  const all = await Promise.all(Array.from({ length: 20 }, () => stream(item)));

  await until('all', () => all.every((each) => each.last()));
  await stop('service1', 'SIGTERM');
  await until('the end of some', () => all.some((each) => each.ended()));
  assert.ok(all.some((each) => !each.ended()), 'those of the other instance go on');

  const again = await stream(item);

  await until('the state', () => again.last());
  [...all, again].forEach(({ response }) => response.destroy());
  await start('service1');
  await ready();
});

test('pgbouncer restarted under load: only 503 with Retry-After, then all well', async () => {
  const item = await makeItem({ stock: 100000 });
  const buyers = await crowd(item);

  await stop('pgbouncer', 'SIGKILL');
  await pause(1000);
  await start('pgbouncer');
  await ready();
  await pause(1000);
  count(await buyers.stop(), [201, 503, 429]);
  assert.equal((await (await client()).buy(item)).status, 201);
});

test('PostgreSQL restarted under load: the same, and the audit is clean', async () => {
  const item = await makeItem({ stock: 100000 });
  const buyers = await crowd(item);
  const file = path.join(run, 'data/postmaster.pid');
  const postmaster = Number(fs.readFileSync(file, 'utf8').split('\n')[0]);

  process.kill(postmaster, 'SIGQUIT');      // an immediate stop, as in a crash
  await until('the end', () => !fs.existsSync(file) || !fs.existsSync(`/proc/${postmaster}`));
  assert.equal(await health(1), 503);
  await start('postgres');
  await ready();
  await pause(1000);
  count(await buyers.stop(), [201, 503, 429]);
  assert.equal((await (await client()).buy(item)).status, 201);
});

test('no named statement crosses pgbouncer', async () => {
  const log = path.join(run, 'log/postgres.log');
  const item = await makeItem();

  await sql('ALTER SYSTEM SET log_statement = \'all\'');
  await sql('SELECT pg_reload_conf()');
  try {
    const ann = await client();

    await until('the log', async () => {
      await ann.get('/api/orders');
      return /execute <unnamed>:\s+SELECT o\.item_id/.test(fs.readFileSync(log, 'utf8'));
    });
    await ann.buy(item);
    await ann.buy(item, { headers: { Prefer: 'respond-async' } });
  } finally {
    await sql('ALTER SYSTEM RESET log_statement');
    await sql('SELECT pg_reload_conf()');
  }

  const text = fs.readFileSync(log, 'utf8');

  assert.match(text, /execute <unnamed>:\s+SELECT outcome, order_id\s+FROM seckill_buy_many/);
  assert.doesNotMatch(text, /execute (?!<unnamed>)\S+:/);
});

test('headers of every row of the CDN table', async () => {
  const item = await makeItem();
  const ann = await client();
  const page = await ann.get('/zh/items/1/');
  const [asset] = page.text.match(/\/assets\/page\.[0-9a-f]{12}\.js/);
  const rows = [
    [asset, 200, 'public, max-age=31536000, immutable'],
    ['/assets/page.000000000000.js', 404, 'no-store'],
    ['/en/items/1/', 200, 'public, max-age=60, stale-while-revalidate=600, stale-if-error=86400'],
    ['/zh/order/', 200, 'public, max-age=60, stale-while-revalidate=600, stale-if-error=86400'],
    ['/en/items/999/', 404, 'no-store'],
    [`/api/items/${item}`, 200, 'public, max-age=1, stale-while-revalidate=5, stale-if-error=60'],
    ['/api/items/999999999', 404, 'no-store'],
    ['/api/time', 200, 'no-store'],
    ['/api/session', 200, 'no-store'],
    ['/api/orders', 200, 'no-store'],
    [`/api/items/${item}/challenge`, 200, 'no-store'],
    ['/', 302, 'private, no-store'],
    ['/pay/nothing', 404, 'no-store'],
    ['/metrics/1', 404, 'no-store'],
    ['/health', 404, 'no-store'],
  ];

  for (const [url, status, cache] of rows) {
    const { headers, ...answer } = await ann.get(url);

    assert.equal(answer.status, status, url);
    assert.equal(headers['cache-control'], cache, url);
    assert.equal(headers['x-content-type-options'], 'nosniff', url);
    assert.equal(headers['set-cookie'], undefined, url);
    assert.equal(headers['access-control-allow-origin'], undefined, url);
  }
  assert.match(page.headers['content-security-policy'], /^default-src 'none'; script-src 'self';/);
  assert.ok(page.headers.etag);
  assert.equal((await ann.get('/zh/items/1/', { headers: { 'If-None-Match': page.headers.etag } })).status, 304);
  assert.equal((await ann.get(asset, { headers: { 'Accept-Encoding': 'gzip' } })).headers['content-encoding'], 'gzip');

  const session = await new Client().post('/api/session', { name: 'Ann' });

  assert.match(session.headers['set-cookie'][0], /; Max-Age=86400; Path=\/; HttpOnly; SameSite=Strict$/);
});

test('what is for operators is not for the public, and is there', async () => {
  for (const url of ['/nginx_status', '/metrics/1', '/metrics/2', '/health/1', '/health/2'])
    assert.equal((await send('GET', url, { at: port + 1 })).status, 200, url);
  for (const url of ['/nginx_status', '/metrics', '/api/metrics', '/health/1'])
    assert.equal((await send('GET', url)).status, 404, url);
});

test('nobody but the owner can reach the sockets or read the secrets', () => {
  const mode = (name) => fs.statSync(path.join(run, name)).mode & 0o777;

  assert.equal(mode('.'), 0o711);
  for (const name of ['sockets', 'run', 'cache', 'tmp', 'data'])
    assert.equal(mode(name) & 0o077, 0, name);
  assert.equal(mode('run/service1.sh'), 0o600);
  assert.equal(mode('.s.PGSQL.5432') & 0o077, 0);
  for (const name of fs.readdirSync(path.join(run, 'log'))) {
    const text = fs.readFileSync(path.join(run, 'log', name), 'utf8');

    assert.doesNotMatch(text, /session=\d|Idempotency-Key|"token"/i, name);
  }
});
