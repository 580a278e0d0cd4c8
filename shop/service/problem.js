// How outcomes of the extension and errors become HTTP answers (RFC 9457).
// An outcome that is not in this table is an error of the service: a test
// compares it with the type in the database.

// status, title, and seconds after which to come back
export const OUTCOMES = {
  sold: { status: 201, title: 'Sold' },
  queued: { status: 202, title: 'In the queue', after: 1 },
  sold_out: { status: 409, title: 'Sold out' },
  conflict: { status: 409, title: 'Lost to another buyer', after: 1 },
  not_started: { status: 409, title: 'The sale has not begun', after: 1 },
  ended: { status: 409, title: 'The sale is over' },
  limit_reached: { status: 409, title: 'No more units for this user' },
  request_reused: { status: 409, title: 'The key was used for another purchase' },
  seat_taken: { status: 409, title: 'The seat is taken' },
  unknown_item: { status: 404, title: 'No such item' },
  denied: { status: 403, title: 'The pass is missing or not valid' },
  rate_limited: { status: 429, title: 'Too many tries', after: 1 },
  busy: { status: 503, title: 'Too many buyers at once', after: 1 },
  moved: { status: 503, title: 'The item is moving to another server', after: 1 },

  // not of the database
  uncertain: { status: 503, title: 'The answer was lost: ask again with the same key', after: 1 },
};

export const PROBLEMS = {
  'key-missing': { status: 400, title: 'A purchase needs an Idempotency-Key' },
  'key-malformed': { status: 400, title: 'The Idempotency-Key is no UUID' },
  'bad-request': { status: 400, title: 'The request cannot be understood' },
  'not-logged-in': { status: 401, title: 'Not logged in' },
  'pass-invalid': { status: 403, title: 'The proof of work is not valid' },
  'cross-site': { status: 403, title: 'Sent by another site' },
  'not-found': { status: 404, title: 'No such thing' },
  'not-json': { status: 415, title: 'Send JSON' },
  'too-large': { status: 413, title: 'Too large' },
  confirmed: { status: 409, title: 'The order is paid' },
  cancelled: { status: 409, title: 'The order is cancelled' },
  expired: { status: 409, title: 'The order has expired' },
  'webhook-stale': { status: 400, title: 'The message is too old or incomplete' },
  'webhook-forged': { status: 401, title: 'The signature is not valid' },
  unavailable: { status: 503, title: 'The database cannot be reached', after: 1 },
  'too-many-streams': { status: 503, title: 'Too many streams: poll instead', after: 5 },
  internal: { status: 500, title: 'Internal error' },
};

// By SQLSTATE, or by its class; what is not here is internal.
const STATES = {
  22003: 'bad-request',
  22004: 'bad-request',
  22023: 'bad-request',
  42704: 'not-found',
  42809: 'bad-request',
  '0A000': 'bad-request',
  25006: 'unavailable',
  53300: 'unavailable',
  40001: 'unavailable',
  40003: 'uncertain',
  '40P01': 'unavailable',
  '55P03': 'unavailable',
  57014: 'uncertain',
  57: 'unavailable',
  '08': 'unavailable',
  SK001: 'confirmed',
  SK002: 'cancelled',
  SK003: 'expired',
  SK005: 'unavailable',
};

// Errors of the connection, which have no SQLSTATE.
const CONNECTION = /^(ECONNREFUSED|ECONNRESET|ENOENT|EPIPE|ETIMEDOUT|EAGAIN)$/;
const LOST = /Connection terminated|timeout exceeded|Query read timeout|not queryable/;

// Print the name of the problem that an error of a query is.
export function problemOf(error) {
  const code = error.code ?? '';

  if (STATES[code])
    return STATES[code];
  if (/^[0-9A-Z]{5}$/.test(code) && error.severity)
    return STATES[code.slice(0, 2)] ?? 'internal';
  if (CONNECTION.test(code) || LOST.test(error.message))
    return 'unavailable';
  return 'internal';
}

// May the same statement be sent again, if it is exact?
export function isTransient(error) {
  const problem = problemOf(error);

  return problem === 'unavailable' || problem === 'uncertain';
}

// An answer that is thrown.
export class Problem extends Error {
  constructor(name, more = {}) {
    super(name);
    this.problem = name;
    this.more = more;
  }
}

// Answer with an outcome other than sold, or with a problem.
export function refuse(reply, name, more = {}) {
  const outcome = OUTCOMES[name];
  const { status, title, after } = outcome ?? PROBLEMS[name];
  const wait = more.after ?? after;

  reply.code(status).type('application/problem+json');
  if (wait !== undefined)
    reply.header('Retry-After', String(Math.max(1, Math.ceil(wait))));
  return reply.send({
    type: `/problems/${name.replaceAll('_', '-')}`,
    title,
    status,
    ...(more.detail && { detail: more.detail }),
    ...(outcome && { outcome: name }),
  });
}

// fastify's error handler: nothing of an unexpected error leaves the service
// but an id that is in the log.
export function onError(error, request, reply) {
  if (error instanceof Problem)
    return refuse(reply, error.problem, error.more);
  if (error.validation)
    return refuse(reply, 'bad-request', { detail: error.message });
  if (error.statusCode === 413)
    return refuse(reply, 'too-large');
  if (error.statusCode === 415)
    return refuse(reply, 'not-json');
  if (error.statusCode >= 400 && error.statusCode < 500)
    return refuse(reply, 'bad-request');

  const name = problemOf(error);

  if (name === 'internal') {
    request.log.error({ err: error }, 'internal error');
    return refuse(reply, name, { detail: request.id });
  }
  request.log.warn({ code: error.code, message: error.message }, name);
  return refuse(reply, name);
}
