// The page of an item.  draw() derives all that is shown from a few variables.  The
// page shows the last known state; the database decides whether the sale has begun
// and which buyer gets a unit.

import { $, announce, call, clock, keepTime, money, pay, say, sleep, texts } from './api.js';
import { format } from './clock.js';
import { Feed } from './feed.js';
import { Pass } from './pass.js';
import { Purchase } from './purchase.js';
import { Seats } from './seats.js';

const PREPARE = 60000;      // ms before the start, as the service has it
const item = Number(document.body.dataset.item);
const limit = Number(document.body.dataset.limit) || Infinity;
const amount = Number(document.body.dataset.amount);
const kind = document.body.dataset.kind;

let state = null;           // of the item, as last told
let session = null;         // undefined: nobody is logged in
let purchase = null;
let order = null;           // {order, state, pay_by}, if there is a live one
let bought = 0;             // units of live orders
let buying = null;          // 'buying', 'queued', 'asking' or 'offline'
let refusal = null;         // {outcome, until}
let timer = null;

const pass = new Pass(item, clock, draw);
const seats = kind === 'seats' ? new Seats(item, draw) : null;

function untilStart() {
  return state.starts_at ? Date.parse(state.starts_at) - clock.now() : 0;
}

// What the page is in, most pressing first.
function view() {
  if (order)
    return 'ordered';
  if (buying)
    return buying;
  if (!state || !clock.known || session === null)
    return 'loading';
  if (state.state === 'ended')
    return 'ended';
  if (refusal?.outcome === 'limit_reached')
    return 'limit_reached';
  if (session === undefined)
    return untilStart() > 0 ? 'upcomingLogin' : 'login';
  if (untilStart() > PREPARE)
    return 'upcoming';
  if (state.state === 'sold_out')
    return 'sold_out';
  if (refusal?.until > clock.now())
    return 'refused';
  if (untilStart() > 0)
    return pass.valid ? 'ready' : 'preparing';
  if (!pass.valid)
    return 'checking';
  return seats && !seats.chosen ? 'choosing' : 'open';
}

const START = new Set(['upcoming', 'upcomingLogin', 'preparing', 'ready']);
const CLOSING = { pending: 'orderPending', loading: 'wait' };
const NEEDS_PASS = new Set(['preparing', 'checking', 'refused']);

function buttonText(now) {
  const time = () => new Date(state.starts_at).toLocaleTimeString(document.documentElement.lang,
    { hour: '2-digit', minute: '2-digit' });

  switch (now) {
    case 'loading': return say('loading');
    case 'login': return say('loginFirst');
    case 'ended': return say('endedButton');
    case 'sold_out': return say('soldOutButton');
    case 'checking': return say('wait');
    case 'choosing': return say('chooseSeat');
    case 'buying': case 'queued': case 'asking': case 'offline': return say('sending');
    default: return START.has(now) ? say('buyAt', { time: time() }) : say('buy');
  }
}

function statusText(now) {
  const wait = START.has(now) ? untilStart() : 0;

  switch (now) {
    case 'loading': return '';
    case 'login': return say('loginFirst');
    case 'preparing': case 'checking': return say(pass.error ?? 'checking');
    case 'choosing':
      return say(refusal?.outcome ?? 'chooseSeat', { seconds: 0 });
    case 'open':
      if (refusal)
        return say(refusal.outcome, { seconds: 0 });
      return say(state.left === 0 ? 'lastUnits' : 'open');
    case 'refused':
      return say(refusal.outcome, { seconds: Math.ceil((refusal.until - clock.now()) / 1000) });
    case 'ordered':
      return `${say('ordered', { order: order.order })} ${say(CLOSING[order.state] ?? (amount > 0 ? 'confirmedText' : 'unpaid'))}`;
    case 'upcoming': case 'upcomingLogin': case 'ready':
      if (wait <= 10000)
        return say('tenSeconds');
      if (now === 'upcomingLogin')
        return say('loginFirst');
      if (now === 'ready')
        return say('ready');
      return wait <= 60000 ? say('oneMinute') : wait <= 300000 ? say('fiveMinutes') : '';
    default: return say(now);
  }
}

// A countdown to the start, or to the end of the time to pay.
function drawTimer(now) {
  const end = START.has(now) ? Date.parse(state.starts_at) :
    now === 'ordered' && order.state === 'pending' ? Date.parse(order.pay_by) : null;

  $('countdown').hidden = end === null;
  if (end === null)
    return;
  $('timer-label').textContent = say(now === 'ordered' ? 'timerPay' : 'timerUpcoming');
  $('timer').textContent = format(end - clock.now());
}

function drawButton(now) {
  const button = $('buy');
  const focused = document.activeElement === button;

  button.hidden = now === 'ordered';
  button.disabled = now !== 'open';
  button.textContent = buttonText(now);
  if (['buying', 'queued', 'asking', 'offline'].includes(now))
    button.setAttribute('aria-busy', 'true');
  else
    button.removeAttribute('aria-busy');
  // a disabled button would lose the focus to nowhere
  if (focused && (button.disabled || button.hidden))
    $('status').focus();
}

// What the unit is worth, of those that differ.
function drawPrize() {
  const { unit, seats: labels } = order;

  $('prize').hidden = !unit && !labels;
  if (kind === 'envelope' && unit)
    $('prize').textContent = say('gotAmount', { amount: money(unit.amount) });
  else if (kind === 'draw' && unit)
    $('prize').textContent = unit.prize ? say('gotPrize', { prize: unit.prize }) : say('gotNothing');
  else if (kind === 'coupon' && unit)
    $('prize').textContent = say('gotCode', { code: unit.code });
  else if (labels)
    $('prize').textContent = say('gotSeats', { seats: labels.join(', ') });
}

function drawOrder(now) {
  $('ordered').hidden = now !== 'ordered';
  if (now !== 'ordered')
    $('prize').hidden = true;
  if (now !== 'ordered')
    return;
  $('pay').hidden = order.state !== 'pending';
  $('pay').textContent = say('pay', { amount: money(order.amount ?? amount) });
  $('to-order').href = `/${texts.language}/order/?item=${item}&order=${order.order}`;
  $('to-order').hidden = amount === 0;
  drawPrize();
  $('another').hidden = !(bought < limit) || state?.state !== 'on_sale';
}

function draw() {
  const now = view();

  document.body.dataset.view = now;
  if (state) {
    $('left').textContent = state.state === 'upcoming' || state.state === 'on_sale' ? String(state.left) : '0';
    $('starts').dateTime = state.starts_at ?? '';
    $('starts').textContent = state.starts_at ?
      new Date(state.starts_at).toLocaleString(document.documentElement.lang) : '–';
  }
  $('login').hidden = session !== undefined || now === 'ended';
  $('hello').textContent = session ? say('hello', { name: session.name }) : '';
  if (NEEDS_PASS.has(now))
    pass.ensure();
  if (seats)
    $('seats').hidden = !['choosing', 'open', 'refused'].includes(now);
  drawTimer(now);
  drawButton(now);
  drawOrder(now);
  announce(statusText(now));
  again(now);
}

// Draw at the next full second of what counts down, and when a wait is over.
function again(now) {
  const ends = [];

  clearTimeout(timer);
  if (!clock.known)
    return;
  if (START.has(now) && state.starts_at)
    ends.push(untilStart());
  if (now === 'ordered' && order.state === 'pending')
    ends.push(Date.parse(order.pay_by) - clock.now());
  if (refusal?.until > clock.now())
    ends.push(refusal.until - clock.now());
  if (ends.length > 0)
    timer = setTimeout(tick, Math.min(...ends.map((ms) => (ms > 0 ? (ms % 1000) + 5 : 1000))));
  else if (NEEDS_PASS.has(now) || now === 'open' || now === 'choosing')
    timer = setTimeout(draw, 1000);
}

// An order whose time to pay is over is about to expire: look.
function tick() {
  if (order?.state === 'pending' && Date.parse(order.pay_by) < clock.now())
    findOrders();
  draw();
}

// Orders of before, also of the purchase that a reload has cut off.
async function findOrders() {
  const { status, body } = await call('GET', '/api/orders');

  if (status !== 200)
    return;

  const mine = body.filter((o) => o.item === item);
  const live = mine.filter((o) => o.state === 'pending' || o.state === 'confirmed');

  bought = live.reduce((sum, o) => sum + o.quantity, 0);
  if (!purchase.dismissed)
    order = live[0] ?? null;
  if (refusal?.outcome === 'limit_reached' && bought < limit)
    refusal = null;
  // the order of the key is gone: the next click is a new purchase
  if (!order && purchase.key && !buying) {
    const own = await purchase.find();

    if (own && own.state !== 'pending' && own.state !== 'confirmed')
      purchase.forget();
  }
  draw();
}

async function enter(who) {
  session = who;
  purchase = new Purchase(item, who.user);
  await findOrders();
}

async function buy() {
  if (view() !== 'open')
    return;
  buying = 'buying';
  refusal = null;
  draw();

  const answer = await purchase.buy(pass.token, (news) => {
    buying = news;
    draw();
  }, seats ? { seats: [seats.chosen] } : {});

  buying = null;
  decide(answer);
  draw();
}

function decide({ status, body, after }) {
  const { outcome } = body;

  if (status === 201) {
    order = { order: body.order, state: 'loading', amount, unit: body.unit };
    purchase.dismissed = false;
    findOrders();
    return;
  }
  if (status === 401) {
    session = undefined;
    return;
  }
  refusal = { outcome: outcome in TEXTS ? outcome : 'failed', until: clock.now() + after };
  if (outcome === 'not_started') {
    // the clock was wrong, or the start was moved
    refusal = null;
    clock.sync().then(() => feed.refresh());
    setTimeout(buy, Math.min(after, 3000));
  } else if (outcome === 'seat_taken') {
    refusal.until = 0;
    seats.drop();
  } else if (outcome === 'denied') {
    pass.drop();
  } else if (outcome === 'sold_out' || outcome === 'ended') {
    refusal = null;
    state = { ...state, state: outcome, left: 0 };
    // the browser itself may have sent the purchase twice, and this is the answer
    // to the second: look once more for an order of the first
    setTimeout(findOrders, 20000 + Math.random() * 20000);
  }
}

const TEXTS = {
  limit_reached: 1, rate_limited: 1, busy: 1, denied: 1, conflict: 1, request_reused: 1,
  seat_taken: 1,
};

$('buy').addEventListener('click', buy);
$('pay').addEventListener('click', () => pay(`/api/items/${item}/orders/${order.order}`, findOrders));
$('another').addEventListener('click', () => {
  purchase.forget();
  purchase.dismissed = true;
  order = null;
  draw();
});
$('login').addEventListener('submit', async (event) => {
  event.preventDefault();

  const { status, body } = await call('POST', '/api/session', { body: { name: $('name').value } });

  if (status === 201)
    enter(body);
  else
    announce(say('failed'));
});

const feed = new Feed(item, (told) => {
  const freed = state?.state === 'sold_out' && told.state === 'on_sale';

  state = told;
  seats?.refresh();
  if (freed && order?.state === 'pending')
    findOrders();
  draw();
});

// Only a clear no is a reason to log in again, as somebody new.
async function whoIsIt() {
  for (;;) {
    const { status, body, after } = await call('GET', '/api/session');

    if (status === 200)
      return enter(body);
    if (status === 401) {
      session = undefined;
      return draw();
    }
    await sleep(after);
  }
}

keepTime().then(draw);
whoIsIt();
