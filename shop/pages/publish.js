// Make the files that nginx serves: a page for each item and language, and assets
// whose names change with their content.  Arguments: goods as JSON, and the folder.

import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const here = import.meta.dirname;
const modules = path.join(here, '../node_modules');
const source = (name) => fs.readFileSync(path.join(here, name), 'utf8');

export const LANGUAGES = ['en', 'zh'];

// Assets, each after those that it names.
export const ASSETS = [
  ['style.css', path.join(here, 'style.css')],
  ['altcha.css', path.join(modules, 'altcha/dist/external/altcha.css')],
  ['altcha.js', path.join(modules, 'altcha/dist/external/altcha.min.js')],
  ['zh-cn.js', path.join(modules, 'altcha/dist/i18n/zh-cn.js')],
  ['pbkdf2.js', path.join(modules, 'altcha/dist/workers/pbkdf2.js')],
  ...['phone.svg', 'tea.svg', 'envelope.svg', 'draw.svg', 'coupon.svg', 'seats.svg', 'clock.js', 'feed.js',
    'api.js', 'purchase.js', 'pass.js', 'seats.js', 'page.js', 'order.js'].map((name) => [name, path.join(here, name)]),
];

// The name of an asset has a hash of its content.
export function hashed(name, content) {
  const hash = createHash('sha256').update(content).digest('hex').slice(0, 12);

  return name.replace(/(\.\w+)$/, `.${hash}$1`);
}

function write(file, content) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(`${file}.new`, content);
  fs.writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }));
  fs.renameSync(`${file}.new`, file);
}

// Write the assets; returns their paths by name.
export function publishAssets(folder) {
  const paths = {};

  for (const [name, file] of ASSETS) {
    let content = fs.readFileSync(file, 'utf8');

    if (name.endsWith('.js'))
      content = content.replace(/'\.\/([\w-]+\.js)'/g, (all, other) => (
        paths[other] ? `'./${path.basename(paths[other])}'` : all));
    paths[name] = `/assets/${hashed(name, content)}`;
    write(path.join(folder, paths[name]), content);
  }
  write(path.join(folder, 'assets.json'), JSON.stringify(paths));
  return paths;
}

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

// Fill in a template: {{name}}, {{text.name}}, {{asset name}}.
export function render(template, values, texts, assets) {
  return template.replace(/\{\{(?:(asset) )?([\w.-]+)\}\}/g, (all, asset, name) => {
    if (asset)
      return assets[values[name] ?? name] ?? fail(all);
    if (name === 'texts')
      return JSON.stringify(texts).replaceAll('<', '\\u003c');
    return escape((name.startsWith('text.') ? texts[name.slice(5)] : values[name]) ?? fail(all));
  });
}

function fail(what) {
  throw new Error(`publish: nothing for ${what}`);
}

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => values[name]);

// Postgres writes an interval as [H]H:MM:SS.
function minutes(interval) {
  const [h, m, s] = interval.split(':').map(Number);

  return Math.round((h * 60 + m + s / 60) * 10) / 10;
}

// For readers without script, whose time zone is not known.
function when(time, locale) {
  return new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeStyle: 'long', timeZone: 'UTC' })
    .format(new Date(time));
}

function valuesOf(goods, lang, texts) {
  return {
    lang,
    item: goods.item_id,
    kind: goods.kind,
    title: goods[`title_${lang}`],
    description: goods[`text_${lang}`],
    picture: goods.picture,
    amount: goods.amount,
    price: goods.amount > 0 ? `¥${(goods.amount / 100).toFixed(2)}` : texts.free,
    starts: goods.starts_at ?? '',
    startsText: goods.starts_at ? when(goods.starts_at, texts.locale) : '–',
    limit: goods.per_user_limit ?? '',
    rules: [
      goods.per_user_limit ? fill(texts.limit, { limit: goods.per_user_limit }) : '',
      goods.pay_within ? fill(texts.payWithin, { minutes: minutes(goods.pay_within) }) : '',
    ].filter(Boolean).join(' · '),
  };
}

export function publish(goods, folder) {
  const assets = publishAssets(folder);

  for (const lang of LANGUAGES) {
    const { kinds, ...texts } = JSON.parse(source(`${lang}.json`));

    for (const each of goods) {
      const own = { ...texts, ...kinds[each.kind] };

      write(path.join(folder, lang, 'items', String(each.item_id), 'index.html'),
        render(source('item.html'), valuesOf(each, lang, own), own, assets));
    }
    write(path.join(folder, lang, 'order/index.html'),
      render(source('order.html'), { lang }, texts, assets));
  }
}

if (process.argv[1] === import.meta.filename)
  publish(JSON.parse(fs.readFileSync(process.argv[2])), process.argv[3]);
