# The calls of t/040_clients.pl by a driver of Python's DB-API: psycopg2 or psycopg.
import importlib
import sys
import uuid

driver = importlib.import_module(sys.argv[1])
user = int(sys.argv[2])


def connect():
    connection = driver.connect("")
    connection.autocommit = True
    return connection


def call(connection, sql, *args):
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM " + sql, args)
        return cursor.fetchone()


def show(name, row):
    outcome, number = row
    assert isinstance(outcome, str) and isinstance(number, (int, type(None)))
    print(f"{name}: {outcome}, {'none' if number is None else 'a number'}")
    return row


def show_error(name, connection, sql, *args):
    try:
        print(f"{name}: {call(connection, sql, *args)}")
    except driver.Error as error:
        print(f"{name}: {error.diag.sqlstate}")


BUY = "seckill_buy(%s, %s, %s)"
db = connect()

# refusals: the first two are arranged by the test
show("crowd", call(db, BUY, 8, user, "pessimistic"))
show("race", call(db, BUY, 9, user, "optimistic"))
show("sold out", call(db, BUY, 2, user, "cache"))
show("early", call(db, BUY, 3, user, "cache"))
show("late", call(db, BUY, 4, user, "cache"))
show("limit", call(db, "seckill_buy(%s, %s, %s, %s)", 5, user, "cache", 2))
show("token", call(db, BUY, 6, user, "cache"))
show("rate", call(db, BUY, 7, user, "cache"))
show("rate", call(db, BUY, 7, user, "cache"))

# a purchase, and its retry after an answer that was lost
request = str(uuid.uuid4())
EXACT = "seckill_buy(%s, %s, %s, %s, %s)"
first = show("request", call(db, EXACT, 1, user, "cache", 2, request))
again = show("request", call(db, EXACT, 1, user, "retry", 2, request))
print("the same order:", first == again)
show("defaults", call(db, "seckill_buy(%s, %s)", 1, user))
show("null request", call(db, EXACT, 1, user, "cache", 1, None))
print("often:", *(call(db, BUY, 1, user, "cache")[0] for _ in range(8)))
with db.cursor() as cursor:
    cursor.execute("SELECT outcome FROM seckill_buy_many(%s, %s, %s)", (1, [user, user], "cache"))
    print("many:", *(row[0] for row in cursor))
    # a list of strings is text[] to psycopg
    cursor.execute("SELECT outcome FROM seckill_buy_many(%s, %s, %s, %s::uuid[])", (1, [user], "cache", [request]))
    print("many again:", *(row[0] for row in cursor))
    cursor.execute("SELECT outcome FROM seckill_buy_items(%s, %s, %s, %s, %s::uuid[])",
        ([1, 404, 1], [user, user, user], "cache", [1, 1, 2], [None, str(uuid.uuid4()), request]))
    print("items:", *(row[0] for row in cursor))

# the queue
show("queue", call(db, BUY, 1, user, "queue"))
queued = show("submit", call(db, "seckill_submit(%s, %s, %s)", 1, user, 1))
show("result", call(db, "seckill_result(%s, %s)", queued[1], "60 s"))
with db.cursor() as cursor:
    cursor.execute("SELECT outcome, ticket FROM seckill_submit_many(%s, %s, %s)", ([1, 404], [user, user], [2, 1]))
    rows = cursor.fetchall()
    print("submit many:", *(row[0] for row in rows))
    cursor.execute("SELECT outcome FROM seckill_result_many(%s, %s)", ([rows[0][1]], "60 s"))
    print("result many:", *(row[0] for row in cursor))
db.autocommit = False
show_error("queue in a transaction", db, BUY, 1, user, "queue")
db.rollback()

# a transaction, and one that is to be tried again
show("transaction", call(db, BUY, 1, user, "cache"))
db.commit()
other = connect()
for attempt in range(2):
    try:
        with db.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT 1")
        if attempt == 0:
            call(other, BUY, 1, user, "retry")
        show("repeatable read", call(db, BUY, 1, user, "retry"))
        db.commit()
        break
    except driver.Error as error:
        print("repeatable read:", error.diag.sqlstate)
        db.rollback()
db.autocommit = True

# misuse
show_error("null mode", db, BUY, 1, user, None)
show_error("null user", db, BUY, 1, None, "cache")
show_error("unknown mode", db, BUY, 1, user, "chache")
show_error("none", db, "seckill_buy(%s, %s, %s, %s)", 1, user, "cache", 0)
show_error("too many", db, "seckill_buy(%s, %s, %s, %s)", 1, user, "cache", 2**32 + 1)
show_error("unknown item", db, BUY, 404, user, "cache")

# payment
order = call(db, "seckill_buy(%s, %s)", 10, user)[1]
print("payment:", call(db, "seckill_confirm(%s, %s)", 10, order)[0])
show_error("cancel", db, "seckill_cancel(%s, %s)", 10, order)
