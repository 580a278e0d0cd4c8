// Payments.  The provider says by signed webhook that money has come; the order
// is confirmed if it still can be, and what is too late or too much is sent back.

import http from 'node:http';
import { Webhook } from 'standardwebhooks';
import { Problem } from './problem.js';

const REFUND_EVERY = 2000;

// Send JSON to the provider.
function post(socketPath, path, secret, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({
      socketPath,
      path,
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${secret}` },
      timeout: 3000,
    }, (response) => {
      response.resume();
      response.on('end', () => {
        if (response.statusCode < 300)
          resolve();
        else
          reject(Object.assign(new Error(`provider: ${response.statusCode}`), { code: 'ECONNREFUSED' }));
      });
    });

    request.on('timeout', () => request.destroy(Object.assign(new Error('provider'), { code: 'ETIMEDOUT' })));
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

export function verify(webhook, body, headers) {
  try {
    return webhook.verify(body, headers);
  } catch (error) {
    throw new Problem(/signature found/.test(error.message) ? 'webhook-forged' : 'webhook-stale');
  }
}

// Settles payments for the routes, which share no more than a name.
export default async function routes(app, { database, settings, metrics }) {
  const { provider, webhookSecret } = settings;
  const webhook = new Webhook(webhookSecret);

  app.decorate('beginPayment', async (order, language) => {
    const { payment_id: id } = await database.addPayment(order.item_id, order.order_id, order.amount);

    await post(provider, '/payments', webhookSecret, {
      id,
      amount: order.amount,
      pay_by: order.pay_by,
      language,
      back: `/${language}/order/?item=${order.item_id}&order=${order.order_id}`,
    });
    return `/pay/${id}`;
  });

  // Repeating a refund changes nothing at the provider.
  async function refund() {
    for (const { payment_id: id } of await database.refunds()) {
      await post(provider, '/refunds', webhookSecret, { id });
      await database.refunded(id);
      metrics.refunds.inc();
    }
  }

  const timer = setInterval(() => refund().catch((error) => {
    app.log.warn({ message: error.message }, 'refund');
  }), REFUND_EVERY).unref();

  app.addHook('onClose', async () => clearInterval(timer));

  await app.register(async (raw) => {
    // the signature is of the bytes
    raw.removeAllContentTypeParsers();
    raw.addContentTypeParser('application/json', { parseAs: 'string' },
      (request, body, done) => done(null, body));

    raw.post('/api/webhooks/payment', {
      schema: {
        summary: 'The provider tells of a payment (Standard Webhooks)',
        response: {
          200: { $ref: 'settled#' },
          '4xx': { $ref: 'problem#' },
          '5xx': { $ref: 'problem#' },
        },
      },
    }, async (request) => {
      const { type, data } = verify(webhook, request.body, request.headers);

      if (type !== 'payment.succeeded')
        return { state: 'ignored' };

      const { state } = await database.settlePayment(data.id);

      if (!state)
        throw new Problem('not-found');
      if (state === 'refund')
        refund().catch(() => {});
      return { state };
    });
  });
}
