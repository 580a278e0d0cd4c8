// One purchase: one key, made at the click, kept over reloads and sent with every
// try, so that asking again never buys twice.

import { call, sleep } from './api.js';

const PATIENCE = 3000;

export class Purchase {
  constructor(item, user) {
    this.item = item;
    this.slot = `purchase ${item} ${user}`;

    const kept = JSON.parse(sessionStorage.getItem(this.slot) ?? '{}');

    this.key = kept.key ?? null;
    // what was asked for, while it is not known whether it was bought
    this.wish = kept.wish ?? null;
    this.tried = this.key !== null;
  }

  #keep() {
    sessionStorage.setItem(this.slot, JSON.stringify({ key: this.key, wish: this.wish }));
  }

  // The next click is another purchase.
  forget() {
    sessionStorage.removeItem(this.slot);
    this.key = null;
    this.wish = null;
    this.tried = false;
  }

  // A wish whose answer is lost stays the wish of its key.
  #begin(wish) {
    this.key ??= crypto.randomUUID();
    this.wish ??= wish;
    this.#keep();
  }

  async #once(token) {
    const headers = { 'Idempotency-Key': `"${this.key}"` };

    if (this.tried)
      headers['Purchase-Retry'] = '?1';
    this.tried = true;
    return call('POST', `/api/items/${this.item}/orders`,
      { body: { ...this.wish, token }, headers, timeout: PATIENCE });
  }

  // Resolves to an answer with an outcome that is certain, or one that is for the
  // buyer to act on.  tell() is told what is going on meanwhile; a wish is what is
  // sent besides the token.
  async buy(token, tell, wish = {}) {
    this.#begin(wish);

    const answer = await this.#ask(token, tell);

    // a refusal is certain: the key may try something else
    if (answer.status !== 201 && answer.status !== 401) {
      this.wish = null;
      this.#keep();
    }
    return answer;
  }

  async #ask(token, tell) {
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
