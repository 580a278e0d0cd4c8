// Queued purchases.  The database decides them in the order of their tickets and
// sends a notification for each batch.  One statement then asks for all tickets
// that a request waits for.

const POLL = 1000;      // ms; a notification may be lost with its connection

export class Tickets {
  constructor(database, log) {
    this.database = database;
    this.log = log;
    this.open = new Map();      // ticket → functions that take the decision
    this.asking = false;
    this.timer = setInterval(() => this.ask(), POLL).unref();
  }

  // Wait for the decision; resolves to {outcome, order}.
  wait(ticket, ms) {
    return new Promise((resolve) => {
      const waiters = this.open.get(ticket) ?? new Set();
      const done = (decision) => {
        clearTimeout(timer);
        waiters.delete(done);
        if (waiters.size === 0)
          this.open.delete(ticket);
        resolve(decision);
      };
      const timer = setTimeout(() => done({ outcome: 'queued' }), ms);

      this.open.set(ticket, waiters.add(done));
      this.ask();
    });
  }

  // Ask for all open tickets.  A notification in the meantime makes it ask again.
  async ask() {
    this.again = true;
    if (this.asking)
      return;
    this.asking = true;
    while (this.again && this.open.size > 0) {
      this.again = false;
      await this.#askOnce([...this.open.keys()]);
    }
    this.asking = false;
  }

  async #askOnce(tickets) {
    try {
      for (const row of await this.database.results(tickets))
        this.#decide(row);
    } catch (error) {
      this.log.warn({ message: error.message }, 'tickets');
    }
  }

  // A ticket without an outcome is forgotten, or its purchase has failed.
  #decide({ ticket, outcome, order_id: order, sqlstate }) {
    if (outcome === 'queued')
      return;
    for (const done of [...this.open.get(ticket) ?? []])
      done({ outcome: sqlstate ? 'lost' : outcome, order });
  }

  close() {
    clearInterval(this.timer);
    for (const waiters of this.open.values()) {
      for (const done of [...waiters])
        done({ outcome: 'queued' });
    }
  }
}
