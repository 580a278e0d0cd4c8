// Passes: a proof of work for an item is exchanged for the token that the database
// requires.  The signed challenge binds the proof to item and user; it expires
// after two minutes and can be used once.

import { createChallenge, randomInt, verifySolution } from 'altcha-lib';
import { deriveKey } from 'altcha-lib/algorithms/pbkdf2';
import { Problem } from './problem.js';

export const OPENS = 60;        // seconds before the sale
export const LIFE = 120;        // seconds that a challenge, and then a pass, is good for

// Seconds until the sale begins, or 0.
export function untilStart(row, now = Date.now()) {
  return row.starts_at ? Math.max(0, (row.starts_at - now) / 1000) : 0;
}

// Why there is no challenge for an item now, if so.
export function checkChallenge(row, now = Date.now()) {
  const wait = untilStart(row, now);

  if (wait > OPENS)
    throw new Problem('not_started', { after: wait - OPENS });
  if (row.state === 'ended' || row.state === 'sold_out')
    throw new Problem(row.state);
}

export function makeChallenge(settings, item, user) {
  const { cost, min, max, secret, keySecret } = settings;

  return createChallenge({
    algorithm: 'PBKDF2/SHA-256',
    cost,
    counter: randomInt(max, min),
    deriveKey,
    data: { item, user },
    expiresAt: Math.floor(Date.now() / 1000) + LIFE,
    hmacSignatureSecret: secret,
    hmacKeySignatureSecret: keySecret,
  });
}

function decode(text) {
  try {
    const { challenge, solution } = JSON.parse(Buffer.from(text, 'base64').toString());

    return typeof challenge?.parameters?.nonce === 'string' && solution ?
      { challenge, solution } : null;
  } catch {
    return null;
  }
}

// The nonce of a right solution; throws otherwise.
export async function checkSolution(settings, text, item, user) {
  const payload = decode(text);

  if (!payload)
    throw new Problem('pass-invalid', { detail: 'malformed' });

  const result = await verifySolution({
    ...payload,
    deriveKey,
    hmacSignatureSecret: settings.secret,
    hmacKeySignatureSecret: settings.keySecret,
  }).catch(() => ({ verified: false }));
  const { data, nonce } = payload.challenge.parameters;

  if (!result.verified)
    throw new Problem('pass-invalid', { detail: result.expired ? 'expired' : 'forged' });
  if (data?.item !== item || data?.user !== user)
    throw new Problem('pass-invalid', { detail: 'foreign' });
  return nonce;
}

export default async function routes(app, { database, items, settings }) {
  async function find(item) {
    const row = await items.get(item);

    if (!row)
      throw new Problem('not-found');
    return row;
  }

  app.get('/api/items/:item/challenge', {
    preHandler: app.loggedIn,
    schema: {
      summary: 'A proof of work to do',
      params: { $ref: 'item-params#' },
      response: {
        200: { type: 'object', additionalProperties: true },
        '4xx': { $ref: 'problem#' },
        '5xx': { $ref: 'problem#' },
      },
    },
  }, async (request) => {
    const { item } = request.params;

    checkChallenge(await find(item));
    return makeChallenge(settings.pow, item, request.user);
  });

  app.post('/api/items/:item/pass', {
    preHandler: app.loggedIn,
    schema: {
      summary: 'Turn a proof of work into a pass',
      params: { $ref: 'item-params#' },
      body: {
        type: 'object',
        required: ['altcha'],
        additionalProperties: false,
        properties: { altcha: { type: 'string', maxLength: 3000 } },
      },
      response: { 201: { $ref: 'pass#' }, '4xx': { $ref: 'problem#' }, '5xx': { $ref: 'problem#' } },
    },
  }, async (request, reply) => {
    const { item } = request.params;
    const nonce = await checkSolution(settings.pow, request.body.altcha, item, request.user);
    const seconds = untilStart(await find(item)) + LIFE;
    const expires = new Date(Date.now() + seconds * 1000);
    const { token } = await database.pass(nonce, item, request.user, seconds);

    if (!token)
      throw new Problem('pass-invalid', { detail: 'replayed' });
    reply.code(201);
    return { token, expires_at: expires };
  });

  const sweeper = setInterval(() => {
    database.forgetChallenges().catch(() => {});
  }, 60000).unref();

  app.addHook('onClose', async () => clearInterval(sweeper));
}
