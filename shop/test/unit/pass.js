import assert from 'node:assert/strict';
import { test } from 'node:test';
import { solveChallenge } from 'altcha-lib';
import { deriveKey } from 'altcha-lib/algorithms/pbkdf2';
import { checkChallenge, checkSolution, makeChallenge } from '../../service/pass.js';
import { keyOf, readTicket, requestOf, writeTicket } from '../../service/order.js';

const settings = { cost: 10, min: 5, max: 10, secret: 'a', keySecret: 'b' };

async function solve(challenge) {
  return Buffer.from(JSON.stringify({
    challenge, solution: await solveChallenge({ challenge, deriveKey }),
  })).toString('base64');
}

const refused = (detail) => (error) => error.problem === 'pass-invalid' && error.more.detail === detail;

test('a solution is good for its item and user', async () => {
  const text = await solve(await makeChallenge(settings, 1, 2));

  assert.match(await checkSolution(settings, text, 1, 2), /^[0-9a-f]{32}$/);
  await assert.rejects(checkSolution(settings, text, 3, 2), refused('foreign'));
  await assert.rejects(checkSolution(settings, text, 1, 3), refused('foreign'));
  await assert.rejects(checkSolution({ ...settings, secret: 'c' }, text, 1, 2), refused('forged'));
});

test('a challenge that was changed, expired or not solved is none', async () => {
  const challenge = await makeChallenge(settings, 1, 2);
  const good = JSON.parse(Buffer.from(await solve(challenge), 'base64'));
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64');
  const change = (parameters) => encode({
    ...good, challenge: { ...challenge, parameters: { ...challenge.parameters, ...parameters } },
  });

  for (const parameters of [{ data: { item: 3, user: 2 } }, { expiresAt: 9999999999 }, { cost: 1 }])
    await assert.rejects(checkSolution(settings, change(parameters), 1, 2), refused('forged'));
  await assert.rejects(checkSolution(settings,
    encode({ ...good, solution: { ...good.solution, derivedKey: '00'.repeat(32) } }), 1, 2), refused('forged'));
  for (const text of ['', 'x', encode({}), encode({ challenge: {}, solution: {} }), encode(null)])
    await assert.rejects(checkSolution(settings, text, 1, 2), refused('malformed'));

  const real = Date.now;

  Date.now = () => real() + 121000;
  try {
    await assert.rejects(checkSolution(settings, encode(good), 1, 2), refused('expired'));
  } finally {
    Date.now = real;
  }
});

test('there is no challenge before its hour, nor when all is over', () => {
  const row = (state, seconds) => ({ state, starts_at: new Date(Date.now() + seconds * 1000) });

  assert.throws(() => checkChallenge(row('upcoming', 100)),
    ({ problem, more }) => problem === 'not_started' && Math.ceil(more.after) === 40);
  checkChallenge(row('upcoming', 59));
  checkChallenge(row('on_sale', -5));
  checkChallenge({ state: 'on_sale', starts_at: null });
  assert.throws(() => checkChallenge(row('sold_out', -5)), { problem: 'sold_out' });
  assert.throws(() => checkChallenge(row('ended', -5)), { problem: 'ended' });
});

test('the request of a purchase is of user, item and key', () => {
  const key = crypto.randomUUID();
  const request = requestOf(1, 2, key);

  assert.match(request, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(requestOf(1, 2, keyOf(`"${key.toUpperCase()}"`)), request);
  assert.equal(new Set([request, requestOf(2, 1, key), requestOf(1, 3, key), requestOf(1, 2, crypto.randomUUID())]).size, 4);
});

test('a ticket cannot be made up', () => {
  const text = writeTicket('secret', [1, 2, '4273940274195238', 'r']);

  assert.deepEqual(readTicket('secret', text), { item: 1, user: 2, ticket: '4273940274195238', request: 'r' });
  for (const forged of [text.replace(/^1\.2/, '1.3'), text.slice(0, -1), 'x', '', '.'])
    assert.throws(() => readTicket('secret', forged), { problem: 'not-found' });
  assert.throws(() => readTicket('other', text), { problem: 'not-found' });
});
