// Print openapi.json, which is made of the schemas of the routes.

import { makeApp } from './app.js';
import { makeMetrics } from './metrics.js';
import { Items } from './item.js';

export async function makeOpenapi() {
  const app = await makeApp({
    settings: { cookieSecret: 'none', webhookSecret: 'bm9uZQ==', lane: {} },
    metrics: makeMetrics(),
    items: new Items(null, {}),
  });

  await app.ready();

  const document = app.swagger();

  await app.close();
  return `${JSON.stringify(document, null, 2)}\n`;
}

if (process.argv[1] === import.meta.filename)
  process.stdout.write(await makeOpenapi());
