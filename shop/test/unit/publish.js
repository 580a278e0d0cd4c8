import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { LANGUAGES, hashed, publish, render } from '../../pages/publish.js';

const goods = [{
  item_id: 7, title_en: 'Tea & <more>', title_zh: '茶', text_en: '', text_zh: '', picture: 'tea.svg',
  amount: 100, kind: 'item', starts_at: '2026-11-11T00:00:00+08:00', per_user_limit: 1, pay_within: '00:15:00',
}];

function inFolder(action) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'publish.'));

  try {
    publish(goods, folder);
    action(folder, (name) => fs.readFileSync(path.join(folder, name), 'utf8'));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

test('same content, same name', () => {
  assert.equal(hashed('a.js', 'x'), hashed('a.js', 'x'));
  assert.notEqual(hashed('a.js', 'x'), hashed('a.js', 'y'));
  inFolder((folder) => {
    const names = fs.readdirSync(path.join(folder, 'assets')).sort();

    publish(goods, folder);
    assert.deepEqual(fs.readdirSync(path.join(folder, 'assets')).sort(), names);
    for (const name of names.filter((each) => !each.endsWith('.gz')))
      assert.match(name, /\.[0-9a-f]{12}\.(js|css|svg)$/);
  });
});

test('zh and en have the same keys, and each is used', () => {
  const here = new URL('../../pages/', import.meta.url);
  const [en, zh] = LANGUAGES.map((lang) => JSON.parse(fs.readFileSync(new URL(`${lang}.json`, here))));
  const used = fs.readdirSync(here).filter((name) => /\.(js|html)$/.test(name))
    .map((name) => fs.readFileSync(new URL(name, here), 'utf8')).join('\n');
  const states = ['pending', 'confirmed', 'cancelled', 'expired'];
  const places = (text) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

  assert.deepEqual(Object.keys(zh), Object.keys(en));
  for (const kind of Object.keys(en.kinds)) {
    assert.deepEqual(Object.keys(zh.kinds[kind]), Object.keys(en.kinds[kind]));
    for (const key of Object.keys(en.kinds[kind]))
      assert.ok(key in en, `${kind}: ${key} replaces nothing`);
  }
  delete en.kinds;
  for (const key of Object.keys(en)) {
    assert.deepEqual(places(zh[key]), places(en[key]), key);
    // say(order.state)
    assert.ok(states.includes(key.replace(/Text$/, '')) || used.includes(key), `${key} is not used`);
  }
});

test('a page has its language, its texts and a dead button', () => {
  inFolder((folder, read) => {
    const page = read('zh/items/7/index.html');

    assert.match(page, /<html lang="zh-CN">/);
    assert.match(page, /<h1>茶<\/h1>/);
    assert.match(read('en/items/7/index.html'), /<h1>Tea &#38; &#60;more&#62;<\/h1>/);
    assert.match(page, /<button id="buy" class="main" disabled>/);
    assert.doesNotMatch(page, /\{\{|undefined/);
    assert.equal(gunzipSync(fs.readFileSync(path.join(folder, 'zh/items/7/index.html.gz'))).toString(), page);
  });
});

test('every asset that a page or a script names is there', () => {
  inFolder((folder, read) => {
    const names = new Set(fs.readdirSync(path.join(folder, 'assets')));
    const texts = ['en/items/7/index.html', 'en/order/index.html',
      ...[...names].filter((name) => /^(?!altcha).*\.js$/.test(name)).map((name) => `assets/${name}`)].map(read);

    for (const text of texts) {
      for (const [, name] of text.matchAll(/["'](?:\/assets|\.)\/([\w-]+\.[\w.]+)["']/g))
        assert.ok(names.has(name), name);
    }
  });
});

test('a template that names what is not there is an error', () => {
  assert.throws(() => render('{{nothing}}', {}, {}, {}), /nothing/);
  assert.throws(() => render('{{asset x.js}}', {}, {}, {}), /x\.js/);
});
