// Snapshots of items, at most half a second old, for pages, streams and challenges.
// They never answer a purchase.

import { Problem, refuse } from './problem.js';

const FRESH = 500;      // ms that a snapshot is good for
const MAX_WATCHED = 1000;
const COMMENT_EVERY = 15000;
const CACHE = 'public, max-age=1, stale-while-revalidate=5, stale-if-error=60';

// Above 20 units only two digits are shown, which hides single purchases.
function roughly(units) {
  const step = 10 ** Math.max(0, String(units).length - 2);

  return units <= 20 ? units : Math.floor(units / step) * step;
}

function present(row) {
  return {
    item: row.item_id,
    state: row.state,
    left: roughly(row.available),
    starts_at: row.starts_at,
    ends_at: row.ends_at,
    limit: row.per_user_limit,
    pay_within: row.pay_within,
  };
}

export class Items {
  constructor(database, { streams = 4000, log }) {
    this.database = database;
    this.maxStreams = streams;
    this.log = log;
    this.known = new Map();       // item → {row, read}
    this.reading = new Map();     // item → promise
    this.streams = new Map();     // item → set of raw responses
    this.open = 0;
    this.timer = null;
  }

  // A snapshot not older than so many ms; undefined if there is no such item.
  async get(item, fresh = FRESH) {
    const known = this.known.get(item);

    if (known && performance.now() - known.read < fresh)
      return known.row;
    if (!this.reading.has(item)) {
      this.reading.set(item, this.#read([item])
        .then((rows) => rows[0])
        .finally(() => this.reading.delete(item)));
    }
    return this.reading.get(item);
  }

  // A snapshot of any age, for settings that rarely change.
  async settings(item) {
    const known = this.known.get(item);

    if (!known)
      return this.get(item);
    if (performance.now() - known.read >= FRESH)
      this.get(item).catch(() => {});
    return known.row;
  }

  // The seat map; concurrent calls share one query.
  seats(item) {
    const key = `seats ${item}`;

    if (!this.reading.has(key))
      this.reading.set(key, this.database.seats(item).finally(() => this.reading.delete(key)));
    return this.reading.get(key);
  }

  async #read(items) {
    const read = performance.now();
    const rows = await this.database.items(items);

    for (const row of rows) {
      if (this.known.size >= MAX_WATCHED && !this.known.has(row.item_id))
        this.known.clear();
      this.known.set(row.item_id, { row, read });
    }
    return rows;
  }

  // Streams

  add(item, raw, row) {
    const set = this.streams.get(item) ?? new Set();

    this.streams.set(item, set);
    set.add(raw);
    this.open++;
    raw.on('close', () => {
      set.delete(raw);
      this.open--;
      if (set.size === 0 && this.streams.get(item) === set)
        this.streams.delete(item);
    });
    // clients reconnect at different times
    raw.write(`retry: ${2000 + Math.floor(Math.random() * 4000)}\n`);
    raw.write(message(row));
    set.last ??= message(row);
    this.timer ??= this.#start();
  }

  #start() {
    const watch = setInterval(() => this.#tick(), FRESH);
    const comment = setInterval(() => this.#each((raw) => raw.write(':\n\n')), COMMENT_EVERY);

    return { watch, comment };
  }

  // One query for all that is watched; only what has changed is sent.
  async #tick() {
    if (this.streams.size === 0) {
      clearInterval(this.timer.watch);
      clearInterval(this.timer.comment);
      this.timer = null;
      return;
    }
    if (this.ticking)
      return;
    this.ticking = true;
    try {
      for (const row of await this.#read([...this.streams.keys()]))
        this.#send(row);
    } catch (error) {
      this.log.warn({ message: error.message }, 'streams');
    } finally {
      this.ticking = false;
    }
  }

  #send(row) {
    const set = this.streams.get(row.item_id);
    const text = message(row);

    if (!set || set.last === text)
      return;
    set.last = text;
    for (const raw of set)
      raw.write(text);
  }

  #each(action) {
    for (const set of this.streams.values())
      set.forEach(action);
  }

  // End all streams: the clients reconnect, to the other instance.
  endStreams() {
    this.#each((raw) => raw.end());
  }

  close() {
    this.endStreams();
    if (this.timer) {
      clearInterval(this.timer.watch);
      clearInterval(this.timer.comment);
    }
  }
}

function message(row) {
  return `event: item\ndata: ${JSON.stringify(present(row))}\n\n`;
}

export default async function routes(app, { items }) {
  app.get('/api/items/:item', {
    schema: {
      summary: 'State of an item, at most a second old',
      params: { $ref: 'item-params#' },
      response: { 200: { $ref: 'item#' }, '4xx': { $ref: 'problem#' }, '5xx': { $ref: 'problem#' } },
    },
  }, async (request, reply) => {
    const row = await items.get(request.params.item);

    if (!row)
      throw new Problem('not-found');
    reply.header('Cache-Control', CACHE);
    return present(row);
  });

  app.get('/api/items/:item/seats', {
    schema: {
      summary: 'The seats of an item that has some, a few seconds old at most',
      params: { $ref: 'item-params#' },
      response: { 200: { $ref: 'seats#' }, '4xx': { $ref: 'problem#' }, '5xx': { $ref: 'problem#' } },
    },
  }, async (request, reply) => {
    const row = await items.settings(request.params.item);

    if (!row?.legs)
      throw new Problem('not-found');
    reply.header('Cache-Control', CACHE);
    return { seats: await items.seats(request.params.item) };
  });

  app.get('/api/items/:item/events', {
    exposeHeadRoute: false,
    schema: {
      summary: 'The same as server-sent events, when it changes',
      params: { $ref: 'item-params#' },
      produces: ['text/event-stream'],
      response: { '4xx': { $ref: 'problem#' }, '5xx': { $ref: 'problem#' } },
    },
  }, async (request, reply) => {
    if (items.open >= items.maxStreams || app.draining())
      return refuse(reply, 'too-many-streams', { after: 1 + Math.random() * 5 });

    const row = await items.get(request.params.item);

    if (!row)
      throw new Problem('not-found');
    reply.hijack();
    reply.raw.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
      'X-Accel-Buffering': 'no',
    });
    items.add(request.params.item, reply.raw, row);
  });
}
