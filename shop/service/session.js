// The demo's login: a name makes a user.  Replace this by your own accounts; the
// rest of the service asks only for request.user.
//
// The cookie has the user, the time and the name, signed: reading it costs no
// query.

import { Problem } from './problem.js';

const DAY = 24 * 60 * 60;

export default async function routes(app, { database, settings }) {
  const cookie = settings.secure ? '__Host-session' : 'session';

  function read(request) {
    const { valid, value } = request.unsignCookie(request.cookies[cookie] ?? '');
    const [user, issued, name] = (value ?? '').split('.');

    if (!valid || !(Date.now() / 1000 - Number(issued) < DAY))
      throw new Problem('not-logged-in');
    return { user: Number(user), name: Buffer.from(name, 'base64url').toString() };
  }

  app.decorateRequest('user', null);
  app.decorate('loggedIn', async (request) => {
    request.user = read(request).user;
  });

  const response = {
    200: { $ref: 'session#' },
    201: { $ref: 'session#' },
    '4xx': { $ref: 'problem#' },
    '5xx': { $ref: 'problem#' },
  };

  app.post('/api/session', {
    schema: {
      summary: 'Log in (demo: makes a user)',
      body: {
        type: 'object',
        required: ['name'],
        additionalProperties: false,
        properties: { name: { type: 'string', minLength: 1, maxLength: 40 } },
      },
      response: { 201: response[201], '4xx': response['4xx'], '5xx': response['5xx'] },
    },
  }, async (request, reply) => {
    const { user_id: user, name } = await database.addUser(request.body.name);
    const value = [user, Math.floor(Date.now() / 1000),
      Buffer.from(name).toString('base64url')].join('.');

    reply.setCookie(cookie, value, {
      signed: true,
      httpOnly: true,
      sameSite: 'strict',
      path: '/',
      maxAge: DAY,
      secure: settings.secure,
    });
    reply.code(201);
    return { user, name };
  });

  app.get('/api/session', {
    schema: {
      summary: 'Who is logged in',
      response: { 200: response[200], '4xx': response['4xx'], '5xx': response['5xx'] },
    },
  }, async (request) => read(request));
}
