// Measure the chain, and direct calls in the same minutes.  Prints a table; nothing
// is asserted but that the answers were right.
//
//   BENCH_SECONDS   of each run (5)
//   BENCH_ROUNDS    of all runs; the medians are printed (3)

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { Signer } from '@fastify/cookie';
import {
  audit, end, makeItem, pause, pid, port, run, sql, statements,
} from './shop.js';

const exec = promisify(execFile);
const seconds = Number(process.env.BENCH_SECONDS ?? 5);
const rounds = Number(process.env.BENCH_ROUNDS ?? 3);
const cookies = path.join(run, 'run/cookies');
const median = (list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)];

// Sessions of as many users, as the service signs them.
function makeCookies(count) {
  const [, secret] = /SHOP_COOKIE_SECRET=(\S+)/.exec(fs.readFileSync(path.join(run, 'run/service1.sh'), 'utf8'));
  const signer = new Signer(secret);
  const now = Math.floor(Date.now() / 1000);

  fs.writeFileSync(cookies, Array.from({ length: count }, (_, i) => (
    encodeURIComponent(signer.sign(`${1000000 + i}.${now}.QQ`)))).join('\n'));
}

async function wrk(method, url, clients, time = seconds) {
  const { stdout } = await exec('wrk', ['-t1', `-c${clients}`, `-d${time}`, '--timeout', '10',
    '-s', new URL('bench.lua', import.meta.url).pathname, `http://127.0.0.1:${port}${url}`],
  {
    env: {
      ...process.env, BENCH_METHOD: method, BENCH_COOKIES: cookies,
      BENCH_REQUESTS: method === 'POST' ? 30000 * time : 50000,
    },
  });
  const [, rate, p50, p99, refused, lost] = /RESULT (\S+) (\S+) (\S+) (\S+) (\S+)/.exec(stdout).map(Number);

  return { rate, p50, p99, refused, bad: refused + lost };
}

const sold = async (item) => (await sql('SELECT count(*) AS n FROM seckill.orders WHERE item_id = $1', [item]))[0].n;

async function chain(item, clients) {
  const before = await sold(item);
  const result = await wrk('POST', `/api/items/${item}/orders`, clients);

  return { rate: Math.round((await sold(item) - before) / seconds), p99: result.p99, bad: result.bad };
}

// The same purchases by as many connections to the server, one call each.
async function direct(item, clients) {
  const script = path.join(run, 'run/direct.sql');

  fs.writeFileSync(script, `\\set user random(1, 1000000000)
SELECT outcome FROM seckill_buy(${item}, :user, 'auto', 1, gen_random_uuid());\n`);

  const { stdout } = await exec('pgbench', ['-n', '-M', 'prepared', '-c', clients, '-j', '1', '-T', seconds, '-f', script, 'shop'],
    { env: { ...process.env, PGUSER: 'postgres' } });
  return { rate: Math.round(Number(/^tps = (\S+) \(without/m.exec(stdout)[1])) };
}

function cpu(name) {
  const [, , ...fields] = fs.readFileSync(`/proc/${pid(name)}/stat`, 'utf8').split(/\) | /);

  return (Number(fields[11]) + Number(fields[12])) / 100;
}

// Open event streams, and the processor time that they cost both instances.
async function streams(item, count) {
  const open = [];

  await Promise.all(Array.from({ length: count }, (_, i) => new Promise((resolve, reject) => {
    http.get({
      host: '127.0.0.1', port, path: `/api/items/${item}/events`,
      headers: { 'X-Forwarded-For': `10.9.${Math.floor(i / 40)}.1` },
    }, (response) => {
      assert.equal(response.statusCode, 200);
      response.resume();
      open.push(response);
      resolve();
    }).on('error', reject);
  })));

  const before = cpu('service1') + cpu('service2');
  const events = 2 * seconds;

  for (let i = 0; i < events; i++) {
    await sql('UPDATE seckill.items SET stock = stock + 1 WHERE item_id = $1', [item]);
    await pause(500);
  }

  const spent = cpu('service1') + cpu('service2') - before;

  open.forEach((response) => response.destroy());
  return (100 * spent) / (events / 2);
}

function row(...cells) {
  console.log(`| ${cells.join(' | ')} |`);
}

const figures = new Map();

function keep(name, result) {
  figures.set(name, [...figures.get(name) ?? [], result]);
}

makeCookies(50000);

const item = await makeItem({ stock: 100000000, pay_within: null });
const out = await makeItem({ stock: 0 });

await wrk('POST', `/api/items/${item}/orders`, 64, 2);
for (let round = 0; round < rounds; round++) {
  for (const clients of [64, 200, 500]) {
    keep(`purchases, ${clients} clients`, await chain(item, clients));
    if (clients < 500)
      keep(`direct calls, ${clients} connections`, await direct(item, clients));
  }

  // all of them are refusals
  const { bad, refused, ...storm } = await wrk('POST', `/api/items/${out}/orders`, 200);

  keep('sold out, kept by nginx', { ...storm, bad: bad - refused });

  const before = (await statements()).items;

  keep('state', await wrk('GET', `/api/items/${item}`, 200));
  keep('queries during that', { rate: Math.round(((await statements()).items - before) / seconds) });
  keep('page', await wrk('GET', '/en/items/1/', 200));
  keep('time', await wrk('GET', '/api/time', 200));
}

console.log(`# ${os.cpus().length} processors, PostgreSQL ${(await sql('SHOW server_version'))[0].server_version}, ` +
  `${rounds} rounds of ${seconds} s each, medians`);
row('what', 'a second', 'p99, ms', 'other answers');
row('---', '---:', '---:', '---:');
for (const [name, results] of figures) {
  row(name, median(results.map(({ rate }) => rate)), results[0].p99 ? median(results.map(({ p99 }) => p99)) : '',
    results.reduce((sum, { bad }) => sum + (bad ?? 0), 0));
}

const ratio = (clients) => median(figures.get(`purchases, ${clients} clients`).map(({ rate }) => rate)) /
  median(figures.get(`direct calls, ${clients} connections`).map(({ rate }) => rate));

console.log(`# merged by the chain, against direct calls: ${ratio(64).toFixed(2)} × at 64, ${ratio(200).toFixed(2)} × at 200`);
console.log(`# 1000 streams with 2 events a second: ${(await streams(await makeItem({ stock: 1 }), 1000)).toFixed(0)} % of a processor`);
await audit();
await end();
