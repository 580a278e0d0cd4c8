// The page of an order: what it is in, how long there is to pay, pay and cancel.

import { $, announce, call, clock, keepTime, money, pay, say, sleep, texts } from './api.js';
import { format } from './clock.js';

const query = new URLSearchParams(location.search);
const item = Number(query.get('item'));
const number = Number(query.get('order'));
const path = `/api/items/${item}/orders/${number}`;
const POLL = 2000;

let order = null;

function text() {
  if (order.state === 'expired' && (order.payment === 'refund' || order.payment === 'refunded'))
    return `${say('expiredText')} ${say('refundText')}`;
  return say(`${order.state}Text`);
}

function draw() {
  const pending = order.state === 'pending';

  document.body.dataset.view = order.state;
  $('facts').hidden = false;
  $('order').textContent = String(order.order);
  $('amount').textContent = money(order.amount);
  $('state').textContent = say(order.state);
  $('buttons').hidden = !pending;
  $('pay').textContent = say('pay', { amount: money(order.amount) });
  $('countdown').hidden = !pending || !clock.known;
  if (!$('countdown').hidden)
    $('timer').textContent = format(Date.parse(order.pay_by) - clock.now());
  announce(text());
}

async function read() {
  const { status, body } = await call('GET', path);

  if (status === 200) {
    order = body;
    draw();
  } else if (status === 404 || status === 401 || status === 400) {
    document.body.dataset.view = 'notFound';
    announce(say('notFound'));
  }
  return status;
}

// A pending order changes by itself; an expired one may still be paid.
async function watch() {
  while (await read() === 0 || order?.state === 'pending' || order?.state === 'expired')
    await sleep(order?.state === 'expired' ? 2 * POLL : POLL);
}

$('pay').addEventListener('click', () => pay(path, read));

$('cancel').addEventListener('click', async () => {
  await call('POST', `${path}/cancel`);
  await read();
  $('status').focus();
});

$('back').href = `/${texts.language}/items/${item || 1}/`;
keepTime().then(() => order && draw());
$('other').href += location.search;
setInterval(() => order?.state === 'pending' && draw(), 1000);
watch();
