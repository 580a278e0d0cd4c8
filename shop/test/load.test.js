// A crowd before one item, through the whole chain.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  audit, client, end, makeItem, orders, pause, soon, sql, until,
} from './shop.js';

after(end);

const USERS = Number(process.env.SHOP_USERS ?? 1000);
const UNITS = USERS / 10;

function percentile(sorted, p) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];
}

// Run an action for each, some at once.
async function each(list, atOnce, action) {
  let next = 0;

  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (next < list.length)
      await action(list[next++]);
  }));
}

test(`${USERS} users at ${UNITS} units: each unit sold once, and every answer is true`, async () => {
  const item = await makeItem({ stock: UNITS, per_user_limit: 1, require_token: true, starts_at: soon(50) });
  const crowd = Array.from({ length: USERS }, () => ({}));

  // before the start: sessions, proofs of work, passes
  await each(crowd, 50, async (one) => {
    one.client = await client();
    one.token = await one.client.pass(item);
  });
  await sql('UPDATE seckill.items SET starts_at = now() + interval \'1 s\' WHERE item_id = $1', [item]);
  await pause(1100);

  // the start: everybody, with one key each, and again until the answer is certain
  const times = [];

  await each(crowd, 200, async (one) => {
    const key = crypto.randomUUID();
    let retry = false;

    for (;;) {
      const sent = performance.now();
      const answer = await one.client.buy(item, { key, token: one.token, retry });

      times.push(performance.now() - sent);
      one.answer = answer;
      if (answer.status === 201 || answer.body.outcome === 'sold_out')
        return;
      assert.ok([409, 429].includes(answer.status), answer.text);
      retry = true;
      await pause(300);
    }
  });

  const told = crowd.filter(({ answer }) => answer.status === 201);
  const made = await orders(item);
  const byNumber = new Map(made.map((order) => [order.order_id, order]));

  assert.equal(made.length, UNITS);
  assert.equal(new Set(made.map(({ user_id: user }) => user)).size, UNITS);
  assert.equal(told.length, UNITS);
  for (const { client: { user }, answer } of told)
    assert.equal(byNumber.get(answer.body.order)?.user_id, user);
  await audit();
  times.sort((a, b) => a - b);
  console.log(`# ${times.length} tries: median ${percentile(times, 0.5).toFixed(1)} ms, ` +
    `p99 ${percentile(times, 0.99).toFixed(1)} ms, longest ${times.at(-1).toFixed(1)} ms`);
});

test('what was sold out is on sale again when nobody pays, and sold again', async () => {
  const item = await makeItem({ stock: 5, pay_within: '1 s' });
  const crowd = await Promise.all(Array.from({ length: 10 }, () => client()));

  for (const one of crowd.slice(0, 5))
    assert.equal((await one.buy(item)).status, 201);
  await until('expiry', async () => (await orders(item)).every(({ state }) => state === 'expired'));
  for (const one of crowd.slice(5))
    assert.equal((await one.buy(item, { retry: true })).status, 201);
  await audit();
});
