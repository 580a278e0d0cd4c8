// The calls of t/040_clients.pl by node-postgres.
const { randomUUID } = require('node:crypto');
const { Client } = require('pg');

const user = Number(process.argv[2]);
const BUY = 'seckill_buy($1, $2, $3)';
const EXACT = 'seckill_buy($1, $2, $3, $4, $5)';

async function connect() {
    const client = new Client();
    await client.connect();
    return client;
}

async function call(db, sql, ...args) {
    const { rows } = await db.query(`SELECT * FROM ${sql}`, args);
    return rows[0];
}

// bigint is a string in JavaScript, which keeps all its digits
function show(name, row) {
    const number = 'ticket' in row ? row.ticket : row.order_id;
    if (number !== null && !/^\d+$/.test(number)) throw new Error(`no number: ${number}`);
    console.log(`${name}: ${row.outcome}, ${number === null ? 'none' : 'a number'}`);
    return row;
}

async function showError(name, db, sql, ...args) {
    try {
        console.log(`${name}:`, await call(db, sql, ...args));
    } catch (error) {
        console.log(`${name}: ${error.code}`);
    }
}

async function main() {
    const db = await connect();

    // refusals: the first two are arranged by the test
    show('crowd', await call(db, BUY, 8, user, 'pessimistic'));
    show('race', await call(db, BUY, 9, user, 'optimistic'));
    show('sold out', await call(db, BUY, 2, user, 'cache'));
    show('early', await call(db, BUY, 3, user, 'cache'));
    show('late', await call(db, BUY, 4, user, 'cache'));
    show('limit', await call(db, 'seckill_buy($1, $2, $3, $4)', 5, user, 'cache', 2));
    show('token', await call(db, BUY, 6, user, 'cache'));
    show('rate', await call(db, BUY, 7, user, 'cache'));
    show('rate', await call(db, BUY, 7, user, 'cache'));

    // a purchase, and its retry after an answer that was lost
    const request = randomUUID();
    const first = show('request', await call(db, EXACT, 1, user, 'cache', 2, request));
    const again = show('request', await call(db, EXACT, 1, user, 'retry', 2n, request));
    console.log('the same order:', first.order_id === again.order_id ? 'True' : 'False');
    show('defaults', await call(db, 'seckill_buy($1, $2)', 1, user));
    show('null request', await call(db, EXACT, 1, user, 'cache', 1, null));
    const outcomes = [];
    for (let i = 0; i < 8; i++) {
        const { rows } = await db.query({
            name: 'buy', text: `SELECT * FROM ${BUY}`, values: [1, user, 'cache'],
        });
        outcomes.push(rows[0].outcome);
    }
    console.log('often:', outcomes.join(' '));
    const many = await db.query('SELECT outcome FROM seckill_buy_many($1, $2, $3)', [1, [user, user], 'cache']);
    console.log('many:', many.rows.map((row) => row.outcome).join(' '));
    const reused = await call(db, 'seckill_buy_many($1, $2, $3, $4)', 1, [user], 'cache', [request]);
    console.log('many again:', reused.outcome);
    const items = await db.query('SELECT outcome FROM seckill_buy_items($1, $2, $3, $4, $5)',
        [[1, 404, 1], [user, user, user], 'cache', [1, 1, 2], [null, randomUUID(), request]]);
    console.log('items:', items.rows.map((row) => row.outcome).join(' '));

    // the queue
    show('queue', await call(db, BUY, 1, user, 'queue'));
    const queued = show('submit', await call(db, 'seckill_submit($1, $2, $3)', 1, user, 1));
    show('result', await call(db, 'seckill_result($1, $2)', queued.ticket, '60 s'));
    const submitted = await db.query('SELECT outcome, ticket FROM seckill_submit_many($1, $2, $3)',
        [[1, 404], [user, user], [2, 1]]);
    console.log('submit many:', submitted.rows.map((row) => row.outcome).join(' '));
    const results = await db.query('SELECT outcome FROM seckill_result_many($1, $2)',
        [[submitted.rows[0].ticket], '60 s']);
    console.log('result many:', results.rows[0].outcome);
    await db.query('BEGIN');
    await showError('queue in a transaction', db, BUY, 1, user, 'queue');
    await db.query('ROLLBACK');

    // a transaction, and one that is to be tried again
    await db.query('BEGIN');
    show('transaction', await call(db, BUY, 1, user, 'cache'));
    await db.query('COMMIT');
    const other = await connect();
    for (let attempt = 0; attempt < 2; attempt++) {
        try {
            await db.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
            await db.query('SELECT 1');
            if (attempt === 0) await call(other, BUY, 1, user, 'retry');
            show('repeatable read', await call(db, BUY, 1, user, 'retry'));
            await db.query('COMMIT');
            break;
        } catch (error) {
            console.log(`repeatable read: ${error.code}`);
            await db.query('ROLLBACK');
        }
    }

    // misuse
    await showError('null mode', db, BUY, 1, user, null);
    await showError('null user', db, BUY, 1, undefined, 'cache');
    await showError('unknown mode', db, BUY, 1, user, 'chache');
    await showError('none', db, 'seckill_buy($1, $2, $3, $4)', 1, user, 'cache', 0);
    await showError('too many', db, 'seckill_buy($1, $2, $3, $4)', 1, user, 'cache', 2 ** 32 + 1);
    await showError('unknown item', db, BUY, 404, user, 'cache');

    // payment
    const order = (await call(db, 'seckill_buy($1, $2)', 10, user)).order_id;
    console.log('payment:', (await call(db, 'seckill_confirm($1, $2)', 10, order)).seckill_confirm);
    await showError('cancel', db, 'seckill_cancel($1, $2)', 10, order);
    await other.end();
    await db.end();
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
