// Merged calls.  A lane has a queue of buyers and at most one call in flight.
// Buyers that arrive during a call are sent in the next one, so a crowd costs a few
// calls, and a single buyer does not wait.
//
// The lane decides nothing: it returns the database's answer, or busy if nothing
// was sent, or uncertain if the answer is lost.

import { isTransient } from './problem.js';

// Returns false for a buyer who lost a race and tries once more.
function answer(buyer, { outcome, order_id: order, ticket, unit }) {
  if (outcome === 'conflict' && !buyer.again) {
    buyer.again = true;
    return false;
  }
  buyer.resolve({ outcome, order, ticket, unit });
  return true;
}

export class Lane {
  // call(buyers) returns a row {outcome, order_id, ticket, unit} for each of them
  constructor({ call, merge = 100, waiting = 2000, patience = 3000, lanes = 1, onCall = () => {} }) {
    Object.assign(this, { call, merge, waiting, patience, lanes, onCall });
    this.buyers = [];
    this.flying = 0;
    this.scheduled = false;
    this.timer = null;
  }

  // Resolves to {outcome, order}; rejects if the whole call was a mistake.
  buy(buyer) {
    if (this.buyers.length >= this.waiting)
      return Promise.resolve({ outcome: 'busy' });
    return new Promise((resolve, reject) => {
      this.buyers.push({ ...buyer, deadline: performance.now() + this.patience, resolve, reject });
      this.#schedule();
      this.#watch();
    });
  }

  // Start a call once all requests of this turn of the event loop are parsed.
  #schedule() {
    if (this.scheduled || this.flying >= this.lanes || this.buyers.length === 0)
      return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.#take();
    });
  }

  // Refuse the buyers whose deadline is over: nothing was sent for them.
  #dropLate() {
    const now = performance.now();

    while (this.buyers.length > 0 && this.buyers[0].deadline <= now)
      this.buyers.shift().resolve({ outcome: 'busy' });
  }

  // A timer enforces the deadlines while a slow call is in flight.
  #watch() {
    if (this.timer || this.buyers.length === 0)
      return;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.#dropLate();
      this.#watch();
    }, Math.max(1, this.buyers[0].deadline - performance.now())).unref();
  }

  async #take() {
    this.#dropLate();

    const buyers = this.buyers.splice(0, this.merge);

    if (buyers.length === 0)
      return;
    this.flying++;
    this.onCall(buyers.length);
    try {
      await this.#fly(buyers);
    } finally {
      this.flying--;
      this.#schedule();
    }
  }

  // Retry a failed call once, unchanged: each element has a request id, so no
  // buyer buys twice.
  async #fly(buyers) {
    let rows;

    try {
      rows = await this.call(buyers).catch((error) => {
        if (!isTransient(error))
          throw error;
        return this.call(buyers);
      });
    } catch (error) {
      for (const buyer of buyers) {
        if (isTransient(error))
          buyer.resolve({ outcome: 'uncertain' });
        else
          buyer.reject(error);
      }
      return;
    }
    this.buyers.unshift(...buyers.filter((buyer, i) => !answer(buyer, rows[i])));
    this.#watch();
  }

  get length() {
    return this.buyers.length;
  }
}
