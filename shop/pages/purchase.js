// One purchase: one key, made at the click, kept over reloads and sent with every
// try, so that asking again never buys twice.

import { call, sleep } from './api.js';

const PATIENCE = 3000;

export class Purchase {
  constructor(item, user) {
    this.item = item;
    this.slot = `purchase ${item} ${user}`;
    this.key = sessionStorage.getItem(this.slot);
    this.tried = this.key !== null;
  }

  // The next click is another purchase.
  forget() {
    sessionStorage.removeItem(this.slot);
    this.key = null;
    this.tried = false;
  }

  #begin() {
    this.key ??= crypto.randomUUID();
    sessionStorage.setItem(this.slot, this.key);
  }

  async #once(token) {
    const headers = { 'Idempotency-Key': `"${this.key}"` };

    if (this.tried)
      headers['Purchase-Retry'] = '?1';
    this.tried = true;
    return call('POST', `/api/items/${this.item}/orders`,
      { body: { token }, headers, timeout: PATIENCE });
  }

  // Resolves to an answer with an outcome that is certain, or one that is for the
  // buyer to act on.  tell() is told what is going on meanwhile.
  async buy(token, tell) {
    this.#begin();
    for (;;) {
      const answer = await this.#once(token);

      if (answer.status === 202)
        return this.#follow(answer, tell);
      if (answer.status !== 0 && answer.status !== 503)
        return answer;
      if (answer.body.outcome === 'busy')
        return answer;
      await this.#pause(answer, tell);
    }
  }

  async #follow({ body }, tell) {
    tell('queued');
    for (;;) {
      const answer = await call('GET', body.ticket, { timeout: 15000 });

      if (answer.status !== 202 && answer.status !== 0 && answer.status !== 503)
        return answer;
      if (answer.body.outcome === 'uncertain')
        return { status: 503, body: { outcome: 'busy' }, after: answer.after };
      if (answer.status !== 202)
        await this.#pause(answer, tell);
    }
  }

  async #pause({ after }, tell) {
    tell(navigator.onLine ? 'asking' : 'offline');
    await Promise.race([
      sleep(Math.min(after, 5000)),
      ...(navigator.onLine ? [] : [new Promise((resolve) => {
        addEventListener('online', resolve, { once: true });
      })]),
    ]);
  }

  // The order that this purchase has made, if any.
  async find() {
    if (!this.key)
      return null;

    const { status, body } = await call('GET', `/api/orders?item=${this.item}&key=${this.key}`);

    return status === 200 ? body[0] ?? null : null;
  }
}
