// A buyer's way through the pages, in Chromium, with real clicks.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import {
  audit, end, makeHall, makeItem, makePages, makeUnits, orders, port, run, soon, sql, until,
} from './shop.js';

const front = `http://127.0.0.1:${port}`;
const axe = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core'), 'utf8');
const shots = process.env.LOGS ? path.join(process.env.LOGS, 'screenshots') : path.join(run, 'screenshots');
const complaints = [];      // what pages wrote to the console, or their policy refused
const faults = [];          // of axe
let browser = null;

before(async () => {
  fs.mkdirSync(shots, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
  });
});

after(async () => {
  await browser?.close();
  await audit();
  await end();
});

// A visitor: a page, and how to act on it.
async function visit({ lang = 'en', init, expected = /^$/, ...options } = {}) {
  const context = await browser.newContext({
    locale: lang === 'zh' ? 'zh-CN' : 'en-GB',
    extraHTTPHeaders: { 'X-Forwarded-For': `10.1.${Math.floor(Math.random() * 250)}.${Math.floor(Math.random() * 250) + 1}` },
    ...options,
  });

  if (init)
    await context.addInitScript(init);

  const page = await context.newPage();
  const complain = (text) => {
    // that a request was refused is no error of the page
    if (!/Failed to load resource/.test(text) && !expected.test(text))
      complaints.push(text);
  };

  page.on('console', (message) => message.type() === 'error' && complain(message.text()));
  page.on('pageerror', (error) => complain(String(error)));
  return {
    context, page, lang,
    view: (name, timeout = 60000) => page.waitForFunction((wanted) => (
      wanted.includes(document.body.dataset.view)), [name].flat(), { timeout }),
    open: (item) => page.goto(`${front}/${lang}/items/${item}/`),
    async logIn(name = lang === 'zh' ? '小明' : 'Ann') {
      await page.fill('#name', name);
      await page.click('#login button');
      await page.waitForSelector('#login', { state: 'hidden' });
    },
    status: () => page.textContent('#status'),
    button: () => page.$eval('#buy', (button) => (
      { disabled: button.disabled, text: button.textContent, hidden: button.hidden })),
    // a picture of this state, and what axe says of it
    async look(state) {
      await page.screenshot({ path: path.join(shots, `${state}.${lang}.png`), fullPage: true });
      await page.evaluate(axe);

      const { violations } = await page.evaluate(() => axe.run(document, {
        runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
      }));

      faults.push(...violations.map(({ id, nodes }) => `${state}.${lang}: ${id}: ${nodes[0].html}`));
    },
    close: () => context.close(),
  };
}

async function makeSale(settings) {
  const item = await makeItem({ require_token: true, per_user_limit: 1, ...settings });

  await makePages([item]);
  return item;
}

const startIn = (item, seconds) => sql(
  'UPDATE seckill.items SET starts_at = now() + $2 * interval \'1 s\' WHERE item_id = $1', [item, seconds]);

for (const lang of ['zh', 'en']) {
  test(`countdown to order, and payment (${lang})`, async () => {
    const item = await makeSale({ starts_at: soon(200) });
    const ann = await visit({ lang });

    await ann.open(item);
    await ann.view('upcomingLogin');
    await ann.look('login');
    await ann.logIn();
    await ann.view('upcoming');
    assert.equal((await ann.button()).disabled, true);
    await ann.look('upcoming');
    // a moved start reaches the page
    await startIn(item, 50);
    await ann.view('ready');
    assert.equal((await ann.button()).disabled, true);
    await ann.look('ready');
    await startIn(item, 3);
    await ann.view('open');
    assert.equal((await ann.button()).disabled, false);
    await ann.look('open');
    await ann.page.click('#buy');
    await ann.view('ordered');
    await ann.page.waitForSelector('#pay:visible');
    await ann.look('ordered');
    assert.match(await ann.status(), lang === 'zh' ? /订单号 \d+/ : /order \d+/);
    await ann.page.click('#pay');
    await ann.page.waitForURL(/\/pay\//);
    await ann.look('provider');
    await ann.page.click(lang === 'zh' ? 'text="支付"' : 'text="Pay"');
    await ann.page.waitForURL(new RegExp(`/${lang}/order/`));
    await ann.view('confirmed');
    await ann.look('paid');
    assert.equal((await orders(item))[0].state, 'confirmed');
    await ann.close();
  });
}

test('the language of the first page is the browser\'s', async () => {
  for (const [lang, locale] of [['zh', 'zh-TW'], ['en', 'fr-FR']]) {
    const ann = await visit({ lang, locale });

    await ann.page.goto(`${front}/`);
    assert.equal(new URL(ann.page.url()).pathname, `/${lang}/items/1/`);
    await ann.close();
  }
});

for (const hours of [1, -1]) {
  test(`the button is disabled before the start, also with the computer's clock ${hours} h off`, async () => {
    const item = await makeSale({ starts_at: soon(50) });
    const ann = await visit({
      init: `{
        const real = Date.now, off = ${hours} * 3600000, Real = Date;
        Date = class extends Real {
          constructor(...args) { super(...(args.length ? args : [real() + off])); }
          static now() { return real() + off; }
        };
      }`,
    });

    await ann.open(item);
    await ann.logIn();
    await ann.view('ready');
    assert.equal((await ann.button()).disabled, true);

    await startIn(item, 9);
    await ann.page.waitForFunction(() => /^00:0[1-9]$/.test(document.getElementById('timer').textContent));
    assert.equal((await ann.button()).disabled, true);
    await ann.view('open');
    assert.ok(Date.now() >= (await sql('SELECT starts_at FROM seckill.items WHERE item_id = $1', [item]))[0].starts_at);
    await ann.page.click('#buy');
    await ann.view('ordered');
    await ann.close();
  });
}

async function openSale(settings, options) {
  const item = await makeSale(settings);
  const ann = await visit(options);

  await ann.open(item);
  await ann.logIn();
  await ann.view('open');
  return { item, ann };
}

test('a double click buys once', async () => {
  const { item, ann } = await openSale({ per_user_limit: null });

  await ann.page.dblclick('#buy');
  await ann.view('ordered');
  assert.equal((await orders(item)).length, 1);
  await ann.close();
});

test('with the keyboard; the focus goes to the status line', async () => {
  const { ann } = await openSale();

  await ann.page.focus('#buy');
  await ann.page.keyboard.press('Enter');
  await ann.view('ordered');
  assert.equal(await ann.page.evaluate(() => document.activeElement.id), 'status');
  await ann.close();
});

test('a reload while buying finds the order', async () => {
  const { item, ann } = await openSale();

  // the purchase is made, its answer is lost
  await ann.page.route(/\/orders$/, async (route) => {
    await route.fetch();
    await route.abort().catch(() => {});      // the reload may have ended it
  });
  await ann.page.click('#buy');
  await until('the order', async () => (await orders(item)).length === 1);
  await ann.page.unroute(/\/orders$/);
  await ann.page.reload();
  await ann.view('ordered');
  assert.equal((await orders(item)).length, 1);
  await ann.close();
});

for (const lang of ['en', 'zh']) {
  test(`network lost at the click, back later: one order (${lang})`, async () => {
    const { item, ann } = await openSale({}, { lang });
    const tries = [];

    ann.page.on('request', (request) => /\/orders$/.test(request.url()) && request.method() === 'POST' &&
      tries.push(request.headers()));
    await ann.context.setOffline(true);
    await ann.page.click('#buy');
    await ann.view('offline');
    await ann.look('offline');
    assert.equal((await orders(item)).length, 0);
    await ann.context.setOffline(false);
    await ann.view('ordered');
    assert.equal((await orders(item)).length, 1);
    assert.equal(new Set(tries.map((headers) => headers['idempotency-key'])).size, 1);
    assert.equal(tries[0]['purchase-retry'], undefined);
    assert.ok(tries.slice(1).every((headers) => headers['purchase-retry'] === '?1'));
    await ann.close();
  });

  test(`an answer that is lost is asked for again, with the same key (${lang})`, async () => {
    const { item, ann } = await openSale({}, { lang });
    let lost = 0;

    await ann.page.route(/\/orders$/, async (route) => {
      await route.fetch();
      if (++lost <= 2)
        await route.abort();
      else
        await route.continue();
    });
    await ann.page.click('#buy');
    await ann.view('asking');
    await ann.look('asking');
    await ann.view('ordered');
    assert.equal((await orders(item)).length, 1);
    await ann.close();
  });

  test(`sold out while looking: the button goes, an expired order brings it back (${lang})`, async () => {
    const { item, ann } = await openSale({ stock: 1 }, { lang });

    await sql('SELECT seckill_buy($1, 1000000, token => seckill_token($1, 1000000))', [item]);
    await ann.view('sold_out');
    assert.equal((await ann.button()).disabled, true);
    await ann.look('sold-out');
    await sql('UPDATE seckill.orders SET pay_by = now() WHERE item_id = $1', [item]);
    await ann.view('open');
    assert.equal((await ann.button()).disabled, false);
    await ann.page.click('#buy');
    await ann.view('ordered');
    await ann.close();
  });

  test(`let it expire: the unit is on sale again (${lang})`, async () => {
    const { item, ann } = await openSale({ pay_within: '5 s' }, { lang });

    await ann.page.click('#buy');
    await ann.view('ordered');

    const [{ order_id: order }] = await orders(item);

    await ann.view('open');
    await ann.page.click('#buy');
    await ann.view('ordered');
    assert.deepEqual((await orders(item)).map(({ state }) => state).sort(), ['expired', 'pending']);
    await ann.page.goto(`${front}/${lang}/order/?item=${item}&order=${order}`);
    await ann.view('expired');
    await ann.look('expired');
    await ann.close();
  });

  test(`pay late: sent back, as the unit is gone (${lang})`, async () => {
    const { item, ann } = await openSale({ stock: 1, pay_within: '8 s' }, { lang });

    await ann.page.click('#buy');
    await ann.page.waitForSelector('#pay:visible');
    await ann.page.click('#pay');
    await ann.page.waitForURL(/\/pay\//);
    await ann.page.click(lang === 'zh' ? 'text=订单过期后再支付' : 'text=Pay after');
    await ann.view('expired');
    await sql('SELECT seckill_buy($1, 1000000, token => seckill_token($1, 1000000))', [item]);
    await ann.page.waitForFunction((text) => document.getElementById('status').textContent.includes(text),
      lang === 'zh' ? '退回' : 'sent back', { timeout: 60000 });
    await ann.look('refund');
    await ann.close();
  });

  test(`refusals are sentences: limit, rate, cancelled, ended, nothing of yours (${lang})`, async () => {
    const { item, ann } = await openSale({ per_user_limit: 2 }, { lang });
    let answer = null;

    await ann.page.route(/\/orders$/, (route) => (answer && route.request().method() === 'POST' ?
      route.fulfill({
        status: answer[0], contentType: 'application/problem+json', headers: { 'Retry-After': '2' },
        body: JSON.stringify({ type: '', title: '', status: answer[0], outcome: answer[1] }),
      }) : route.continue()));
    for (const [status, outcome] of [[429, 'rate_limited'], [503, 'busy'], [409, 'conflict'], [403, 'denied']]) {
      answer = [status, outcome];
      await ann.view('open');
      await ann.page.click('#buy');
      await ann.view('refused');
      assert.equal((await ann.button()).disabled, true);
      await ann.look(outcome);
    }
    answer = null;
    await ann.view('open');
    await ann.page.click('#buy');
    await ann.view('ordered');
    await ann.page.click('#another');
    await ann.view('open');
    await ann.page.click('#buy');
    await until('two orders', async () => (await orders(item)).length === 2);
    await ann.page.waitForSelector('#pay:visible');
    assert.equal(await ann.page.isVisible('#another'), false);
    await ann.page.click('#to-order');
    await ann.view('pending');
    await ann.look('pending');
    await ann.page.click('#cancel');
    await ann.view('cancelled');
    await ann.look('cancelled');
    await ann.page.goto(`${front}/${lang}/order/?item=${item}&order=1`);
    await ann.view('notFound');
    await ann.look('not-found');
    await sql('UPDATE seckill.orders SET pay_by = now() WHERE item_id = $1 AND state = \'pending\'', [item]);
    await sql('UPDATE seckill.items SET ends_at = now() WHERE item_id = $1', [item]);
    await ann.open(item);
    await ann.view('ended');
    await ann.look('ended');
    await ann.close();
  });

  test(`who has bought elsewhere is told of the limit (${lang})`, async () => {
    const { item, ann } = await openSale({}, { lang });
    const user = await ann.page.evaluate(() => fetch('/api/session').then((r) => r.json()));

    await sql('SELECT seckill_buy($1, $2, token => seckill_token($1, $2))', [item, user.user]);
    await ann.page.click('#buy');
    await ann.view('limit_reached');
    await ann.look('limit');
    await ann.page.reload();
    await ann.view('ordered');
    await ann.close();
  });

  test(`without script: a sentence, and no button that works (${lang})`, async () => {
    const item = await makeSale({ starts_at: soon(3600) });
    const ann = await visit({ lang, javaScriptEnabled: false });

    await ann.open(item);
    assert.equal(await ann.page.isDisabled('#buy'), true);
    assert.match(await ann.page.textContent('noscript'), /JavaScript/);
    assert.ok(await ann.page.isVisible('h1'));
    await ann.page.screenshot({ path: path.join(shots, `noscript.${lang}.png`), fullPage: true });
    await ann.close();
  });
}

for (const lang of ['en', 'zh']) {
  test(`envelope, draw and coupon: what is inside is shown, also after a reload (${lang})`, async () => {
    for (const [kind, unit, text] of [
      ['envelope', { amount: 888 }, /¥8\.88/],
      ['draw', { prize: 2 }, lang === 'zh' ? /2 等奖/ : /prize no\. 2/],
      ['coupon', { code: 'ABCD-EFGH' }, /ABCD-EFGH/],
    ]) {
      const item = await makeUnits(3, () => (kind === 'coupon' ? { code: `${unit.code}-${Math.random()}` } : unit),
        { kind, require_token: true, per_user_limit: 1 });
      const ann = await visit({ lang });

      await makePages([item]);
      await ann.open(item);
      await ann.logIn();
      await ann.view('open');
      await ann.look(kind);
      await ann.page.click('#buy');
      await ann.view('ordered');
      assert.match(await ann.page.textContent('#prize'), text);
      await ann.page.reload();
      await ann.view('ordered');
      assert.match(await ann.page.textContent('#prize'), text);
      await ann.look(`${kind}-open`);
      await ann.close();
    }
  });

  test(`a seat on the map; one that is taken at the click (${lang})`, async () => {
    const item = await makeHall(8, { require_token: true, per_user_limit: 1 });
    const ann = await visit({ lang });
    const take = (seat) => sql(`SELECT seckill_book($1, 1000000 + $2::bigint, 0, 1, seats => ARRAY[$2::bigint],
      token => seckill_token($1, 1000000 + $2::bigint))`, [item, seat]);

    await makePages([item]);
    await take(2);
    await ann.open(item);
    await ann.logIn();
    await ann.view('choosing');
    assert.equal((await ann.button()).disabled, true);
    await ann.page.waitForFunction(() => document.querySelector('input[value="2"]')?.disabled);
    await ann.page.check('input[value="10"]');
    await ann.view('open');
    await ann.look('seats');
    await take(10);
    await ann.page.click('#buy');
    await ann.view('choosing');
    assert.match(await ann.status(), lang === 'zh' ? /刚被他人订走/ : /just been taken/);
    await ann.look('seat-taken');
    await ann.page.check('input[value="11"]');
    await ann.page.click('#buy');
    await ann.view('ordered');
    await ann.page.waitForSelector('#prize:visible');
    assert.match(await ann.page.textContent('#prize'), /B5/);
    await ann.page.waitForFunction((left) => document.getElementById('left').textContent === left, String(48 - 3));
    await ann.look('seat-booked');
    await ann.close();
  });
}

// Hold an answer back until it is let go.
async function hold(page, pattern, method) {
  let go = null;
  const held = new Promise((resolve) => {
    go = resolve;
  });

  await page.route(pattern, async (route) => {
    if (route.request().method() === method)
      await held;
    await route.continue();
  });
  return go;
}

for (const lang of ['en', 'zh']) {
  test(`what takes a while is said (${lang})`, async () => {
    const item = await makeSale({ path: 'queue' });
    const ann = await visit({ lang });
    const letPass = await hold(ann.page, /\/pass$/, 'POST');
    const letOrder = await hold(ann.page, /\/orders$/, 'POST');
    const letTicket = await hold(ann.page, /\/tickets\//, 'GET');

    await ann.open(item);
    await ann.view('login');
    await ann.look('login-open');
    await ann.logIn();
    await ann.view('checking');
    await ann.look('checking');
    assert.equal((await ann.button()).disabled, true);
    letPass();
    await ann.view('open');
    await ann.page.click('#buy');
    await ann.view('buying');
    await ann.look('buying');
    assert.equal(await ann.page.getAttribute('#buy', 'aria-busy'), 'true');
    letOrder();
    await ann.view('queued');
    await ann.look('queued');
    letTicket();
    await ann.view('ordered');
    assert.equal((await orders(item)).length, 1);
    await ann.close();
  });

  test(`a check that fails is tried again (${lang})`, async () => {
    const item = await makeSale();
    const ann = await visit({ lang });

    await ann.page.route(/\/challenge$/, (route) => route.fulfill({ status: 503, body: '{}' }));
    await ann.open(item);
    await ann.logIn();
    await ann.page.waitForFunction((text) => document.getElementById('status').textContent === text,
      lang === 'zh' ? '验证未成功，正在重试。' : 'The check did not work. It is tried again.');
    await ann.look('check-failed');
    await ann.page.unroute(/\/challenge$/);
    await ann.view('open');
    await ann.close();
  });
}

test('an item of the queue: by ticket', async () => {
  const { item, ann } = await openSale({ path: 'queue' });
  const seen = [];

  ann.page.on('response', (response) => /\/(orders|tickets\/.*)$/.test(response.url()) && seen.push(response.status()));
  await ann.page.click('#buy');
  await ann.view('ordered');
  assert.ok(seen.includes(202));
  assert.equal((await orders(item)).length, 1);
  await ann.close();
});

test('who is logged in stays so, though the service is away for a moment', async () => {
  const item = await makeSale({ starts_at: soon(600) });
  const ann = await visit();
  const user = () => ann.page.evaluate(() => fetch('/api/session').then((r) => r.json())).then((body) => body.user);
  let away = 2;

  await ann.open(item);
  await ann.logIn();

  const ours = await user();

  await ann.page.route(/\/api\/session$/, (route) => (away-- > 0 ?
    route.fulfill({ status: 503, contentType: 'application/json', body: '{}' }) : route.continue()));
  await ann.page.reload();
  await ann.view('upcoming');
  assert.equal(await user(), ours);
  await ann.close();
});

test('where streams do not get through, the page polls', async () => {
  const item = await makeSale({ stock: 1 });
  const ann = await visit();

  await ann.page.route(/\/events$/, (route) => route.fulfill({ status: 503 }));
  await ann.open(item);
  await ann.logIn();
  await ann.view('open');
  await sql('SELECT seckill_buy($1, 1000000, token => seckill_token($1, 1000000))', [item]);
  await ann.view('sold_out');
  await ann.close();
});

test('a pass that has run out is made anew', async () => {
  const { item, ann } = await openSale();

  // the key of the tokens is another one now
  await ann.page.route(/\/orders$/, (route) => (route.request().method() === 'POST' ?
    route.continue({ postData: JSON.stringify({ token: 'old' }) }) : route.continue()));
  await ann.page.click('#buy');
  await ann.view('refused');
  await ann.page.unroute(/\/orders$/);
  await ann.view('open');
  await ann.page.click('#buy');
  await ann.view('ordered');
  assert.equal((await orders(item)).length, 1);
  await ann.close();
});

test('on a narrow screen nothing is cut off', async () => {
  const { ann } = await openSale({}, { viewport: { width: 320, height: 640 }, hasTouch: true });

  assert.ok(await ann.page.evaluate(() => document.documentElement.scrollWidth <= 320));
  assert.ok(await ann.page.$$eval('button, header a', (all) => all.every((each) => (
    each.offsetParent === null || each.getBoundingClientRect().height >= 44))));
  await ann.look('narrow');
  await ann.page.tap('#buy');
  await ann.view('ordered');
  await ann.close();
});

test('no violation of the policy, no error on the console', () => {
  assert.deepEqual(complaints, []);
});

test('axe finds nothing, in any state and language', () => {
  assert.deepEqual(faults, []);
});

test('there is a picture of each state in both languages', () => {
  const names = fs.readdirSync(shots).filter((name) => !name.startsWith('narrow'));
  const states = (lang) => names.filter((name) => name.endsWith(`.${lang}.png`))
    .map((name) => name.split('.')[0]).sort();

  assert.ok(states('zh').length > 35, String(states('zh')));
  assert.deepEqual(states('zh'), states('en'));
});
