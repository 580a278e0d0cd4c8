// A stand-in for a payment provider: takes payments from the shop, shows the buyer
// a page with buttons, and sends signed webhooks through the shop's front door,
// again and again until they are taken.  Replace it by a real one.

import fs from 'node:fs';
import http from 'node:http';
import fastify from 'fastify';
import closeWithGrace from 'close-with-grace';
import { Webhook } from 'standardwebhooks';

const { SHOP_PROVIDER_SOCKET: socket, SHOP_WEBHOOK_SECRET: secret, SHOP_FRONT: front } = process.env;
const webhook = new Webhook(secret);
const payments = new Map();     // id → {id, amount, pay_by, language, back, state}
const RETRIES = [200, 500, 1000, 2000, 5000, 10000];
const LATE = 3000;              // ms after pay_by

const TEXTS = {
  en: {
    title: 'Payment provider (stand-in)',
    amount: 'To pay',
    pay: 'Pay',
    late: 'Pay after the order has expired',
    decline: 'Decline',
    twice: 'Pay, and send the message twice',
    back: 'Back to the shop',
    open: 'not paid',
    paid: 'paid',
    waiting: 'will be paid late',
    declined: 'declined',
    refunded: 'sent back',
  },
  zh: {
    title: '支付平台（演示）',
    amount: '应付',
    pay: '支付',
    late: '订单过期后再支付',
    decline: '拒绝',
    twice: '支付，并重复发送通知',
    back: '返回商店',
    open: '未支付',
    paid: '已支付',
    waiting: '将延迟支付',
    declined: '已拒绝',
    refunded: '已退款',
  },
};

// Send a message to the shop; resolves to the status.
function post(headers, body) {
  return new Promise((resolve) => {
    const request = http.request(`${front}/api/webhooks/payment`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      timeout: 5000,
    }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    });

    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(0));
    request.end(body);
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Each try has the same id and a signature of its own time.
async function send(payment) {
  const body = JSON.stringify({ type: 'payment.succeeded', data: { id: payment.id, amount: payment.amount } });
  const id = `msg_${payment.id}`;

  for (const wait of [...RETRIES, null]) {
    const now = new Date();
    const status = await post({
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now / 1000)),
      'webhook-signature': webhook.sign(id, now, body),
    }, body);

    if (status < 500 && status !== 0 && status !== 429)
      return;
    if (wait !== null)
      await pause(wait);
  }
}

async function payLate(payment) {
  payment.state = 'waiting';
  await pause(Math.max(0, new Date(payment.pay_by) - Date.now()) + LATE);
  payment.state = 'paid';
  await send(payment);
}

const ACTIONS = {
  async pay(payment) {
    payment.state = 'paid';
    await send(payment);
  },
  async late(payment) {
    payLate(payment);
  },
  async decline(payment) {
    payment.state = 'declined';
  },
  async twice(payment) {
    payment.state = 'paid';
    await Promise.all([send(payment), send(payment)]);
  },
};

const escape = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function page(payment, css) {
  const t = TEXTS[payment.language];
  const button = (action) => `<form method="post" action="/pay/${payment.id}/${action}">` +
    `<button>${t[action]}</button></form>`;
  const buttons = payment.state === 'open' ? Object.keys(ACTIONS).map(button).join('\n') : '';

  return `<!doctype html>
<html lang="${payment.language === 'zh' ? 'zh-CN' : 'en'}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${t.title}</title>
<link rel="stylesheet" href="${css}">
<main class="narrow">
<div>
<h1>${t.title}</h1>
<p class="price">${t.amount}: ¥${(payment.amount / 100).toFixed(2)}</p>
<p id="state" role="status">${t[payment.state]}</p>
<div class="buttons">
${buttons}
</div>
<p><a href="${escape(payment.back)}">${t.back}</a></p>
</div>
</main>
`;
}

const app = fastify({ bodyLimit: 4096, keepAliveTimeout: 75000, forceCloseConnections: 'idle' });
const css = JSON.parse(fs.readFileSync(process.env.SHOP_ASSETS))['style.css'];

app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' },
  (request, body, done) => done(null, {}));

async function fromShop(request, reply) {
  if (request.headers.authorization !== `Bearer ${secret}`)
    return reply.code(403).send({});
}

app.post('/payments', { onRequest: fromShop }, async (request, reply) => {
  const { id } = request.body;

  if (!payments.has(id))
    payments.set(id, { ...request.body, state: 'open' });
  reply.code(201);
  return {};
});

app.post('/refunds', { onRequest: fromShop }, async (request) => {
  const payment = payments.get(request.body.id);

  if (payment)
    payment.state = 'refunded';
  return {};
});

function find(request, reply) {
  const payment = payments.get(request.params.id);

  if (!payment)
    reply.code(404).type('text/plain').send('no such payment\n');
  return payment;
}

app.get('/pay/:id', async (request, reply) => {
  const payment = find(request, reply);

  if (!payment)
    return reply;
  reply.type('text/html; charset=utf-8');
  return page(payment, css);
});

// Answer with the page at once, or with the way back when the money is there.
app.post('/pay/:id/:action', async (request, reply) => {
  const payment = find(request, reply);
  const action = ACTIONS[request.params.action];

  if (!payment)
    return reply;
  if (!Object.hasOwn(ACTIONS, request.params.action))
    return reply.code(404).send({});
  if (payment.state === 'open')
    await action(payment);
  return reply.redirect(payment.back, 303);
});

closeWithGrace({ delay: 3000, logger: false }, () => app.close());
fs.rmSync(socket, { force: true });
await app.listen({ path: socket });
