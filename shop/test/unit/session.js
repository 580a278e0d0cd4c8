import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeApp } from '../../service/app.js';
import { Items } from '../../service/item.js';
import { makeMetrics } from '../../service/metrics.js';

// The service with a database that knows users only.
async function withApp(settings, action) {
  const app = await makeApp({
    settings: { cookieSecret: 'secret', webhookSecret: 'bm9uZQ==', lane: {}, ...settings },
    metrics: makeMetrics(),
    items: new Items(null, {}),
    database: { addUser: async (name) => ({ user_id: 7, name }) },
  });

  try {
    await action(app);
  } finally {
    await app.close();
  }
}

const logIn = (app) => app.inject({ method: 'POST', url: '/api/session', payload: { name: 'Zoë 明' } });

test('behind TLS the cookie is for this host alone, and secure', async () => {
  await withApp({ secure: true }, async (app) => {
    const { headers, cookies: [cookie] } = await logIn(app);

    assert.match(headers['set-cookie'], /^__Host-session=.*; Path=\/; HttpOnly; Secure; SameSite=Strict$/);

    const session = await app.inject({ url: '/api/session', cookies: { [cookie.name]: cookie.value } });

    assert.deepEqual(session.json(), { user: 7, name: 'Zoë 明' });
  });
});

test('a session ends after a day, and a changed one is none', async () => {
  await withApp({}, async (app) => {
    const { cookies: [cookie] } = await logIn(app);
    const get = (value) => app.inject({ url: '/api/session', cookies: { session: value } });
    const real = Date.now;

    assert.equal((await get(cookie.value)).statusCode, 200);
    assert.equal((await get(cookie.value.replace(/^7/, '8'))).statusCode, 401);
    Date.now = () => real() + 86401000;
    try {
      assert.equal((await get(cookie.value)).statusCode, 401);
    } finally {
      Date.now = real;
    }
  });
});

test('an answer of a service that stops ends the connection', async () => {
  await withApp({}, async (app) => {
    assert.equal((await logIn(app)).headers.connection, 'keep-alive');
    app.drain();
    assert.equal((await logIn(app)).headers.connection, 'close');
  });
});

test('an error that nobody expects says nothing but its number', async () => {
  await withApp({}, async (app) => {
    app.get('/broken', async () => {
      throw new Error('secret detail');
    });

    const answer = await app.inject('/broken');

    assert.equal(answer.statusCode, 500);
    assert.match(answer.json().detail, /^[0-9a-f-]{36}$/);
    assert.doesNotMatch(answer.body, /secret/);
  });
});
