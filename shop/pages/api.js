// Calls of the shop, and what pages share.

import { Clock } from './clock.js';

export const texts = JSON.parse(document.getElementById('texts').textContent);

export const $ = (id) => document.getElementById(id);

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function say(name, values = {}) {
  return texts[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

export function money(fen) {
  return `¥${(fen / 100).toFixed(2)}`;
}

// Put a text where a screen reader announces changes; the same is not said twice.
export function announce(text) {
  if ($('status').textContent !== text)
    $('status').textContent = text;
}

// Resolves to {status, body, after}; status 0: no answer.
export async function call(method, path, { body, headers = {}, timeout = 10000 } = {}) {
  try {
    const response = await fetch(path, {
      method,
      cache: 'no-store',
      headers: method === 'GET' ? headers : { 'Content-Type': 'application/json', ...headers },
      body: method === 'GET' ? undefined : JSON.stringify(body ?? {}),
      signal: AbortSignal.timeout(timeout),
    });

    return {
      status: response.status,
      body: await response.json(),
      after: Number(response.headers.get('Retry-After') ?? 1) * 1000,
    };
  } catch {
    return { status: 0, body: {}, after: 1000 };
  }
}

// Go to the provider's page to pay for the order of a path.  If the order has moved
// on, look at it again instead.
export async function pay(path, refresh) {
  const { status, body } = await call('POST', `${path}/payment`,
    { body: { language: texts.language } });

  if (status === 201)
    location.assign(body.location);
  else if (status === 409)
    refresh();
  else
    announce(say('payFailed'));
}

export const clock = new Clock(async () => {
  const { status, body } = await call('GET', '/api/time');

  if (status !== 200)
    throw new Error('no time');
  return body.now * 1000;
});

// Sync for as long as the page lives, and whenever it comes back to the front.
export async function keepTime() {
  const sync = () => clock.sync().catch(() => {});

  while (!clock.known) {
    await sync();
    if (!clock.known)
      await sleep(1000);
  }
  setInterval(sync, 300000);
  document.addEventListener('visibilitychange', () => document.hidden || sync());
}
