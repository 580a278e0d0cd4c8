// The calls of t/040_clients.pl by pgjdbc.  No cast in any statement, and each
// parameter by the method for its Java type: setString, setLong, setInt.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;

public class Jdbc {
    static final String BUY = "seckill_buy(?, ?, ?)";
    static final String BUY_UNITS = "seckill_buy(?, ?, ?, ?)";
    static final String EXACT = "seckill_buy(?, ?, ?, ?, ?)";

    static class Row {
        final String outcome;
        final Long number;

        Row(String outcome, Long number) {
            this.outcome = outcome;
            this.number = number;
        }
    }

    static Connection connect() throws SQLException {
        return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":"
            + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE"), System.getenv("PGUSER"), "");
    }

    static void bind(PreparedStatement statement, Object... args) throws SQLException {
        for (int i = 0; i < args.length; i++) {
            if (args[i] instanceof String)
                statement.setString(i + 1, (String) args[i]);
            else if (args[i] instanceof Long)
                statement.setLong(i + 1, (Long) args[i]);
            else if (args[i] instanceof Integer)
                statement.setInt(i + 1, (Integer) args[i]);
            else
                statement.setObject(i + 1, args[i]);
        }
    }

    static Row call(Connection db, String sql, Object... args) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement("SELECT * FROM " + sql)) {
            bind(statement, args);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return new Row(rows.getString(1),
                    rows.getMetaData().getColumnCount() == 1 ? null : rows.getObject(2, Long.class));
            }
        }
    }

    static Row show(String name, Row row) {
        System.out.println(name + ": " + row.outcome + ", " + (row.number == null ? "none" : "a number"));
        return row;
    }

    static void showError(String name, Connection db, String sql, Object... args) {
        try {
            System.out.println(name + ": " + call(db, sql, args).outcome);
        } catch (SQLException error) {
            System.out.println(name + ": " + error.getSQLState());
        }
    }

    public static void main(String[] args) throws SQLException {
        long user = Long.parseLong(args[0]);
        Connection db = connect();

        // refusals: the first two are arranged by the test
        show("crowd", call(db, BUY, 8, user, "pessimistic"));
        show("race", call(db, BUY, 9, user, "optimistic"));
        show("sold out", call(db, BUY, 2, user, "cache"));
        show("early", call(db, BUY, 3, user, "cache"));
        show("late", call(db, BUY, 4, user, "cache"));
        show("limit", call(db, BUY_UNITS, 5, user, "cache", 2));
        show("token", call(db, BUY, 6, user, "cache"));
        show("rate", call(db, BUY, 7, user, "cache"));
        show("rate", call(db, BUY, 7, user, "cache"));

        // a purchase, and its retry after an answer that was lost
        UUID request = UUID.randomUUID();
        Row first = show("request", call(db, EXACT, 1, user, "cache", 2, request));
        Row again = show("request", call(db, EXACT, 1, user, "retry", 2L, request));
        System.out.println("the same order: " + (first.number.equals(again.number) ? "True" : "False"));
        show("defaults", call(db, "seckill_buy(?, ?)", 1L, user));
        show("null request", call(db, EXACT, 1, user, "cache", 1L, null));
        List<String> outcomes = new ArrayList<>();
        try (PreparedStatement statement = db.prepareStatement("SELECT * FROM " + BUY)) {
            for (int i = 0; i < 8; i++) {
                bind(statement, 1, user, "cache");
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    outcomes.add(rows.getString("outcome"));
                }
            }
        }
        System.out.println("often: " + String.join(" ", outcomes));
        outcomes.clear();
        try (PreparedStatement statement =
                db.prepareStatement("SELECT outcome FROM seckill_buy_many(?, ?, ?)")) {
            bind(statement, 1, db.createArrayOf("bigint", new Long[] {user, user}), "cache");
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next())
                    outcomes.add(rows.getString(1));
            }
        }
        System.out.println("many: " + String.join(" ", outcomes));
        try (PreparedStatement statement =
                db.prepareStatement("SELECT outcome FROM seckill_buy_many(?, ?, ?, ?)")) {
            bind(statement, 1, db.createArrayOf("bigint", new Long[] {user}), "cache",
                db.createArrayOf("uuid", new UUID[] {request}));
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                System.out.println("many again: " + rows.getString(1));
            }
        }
        outcomes.clear();
        try (PreparedStatement statement =
                db.prepareStatement("SELECT outcome FROM seckill_buy_items(?, ?, ?, ?, ?)")) {
            bind(statement, db.createArrayOf("bigint", new Long[] {1L, 404L, 1L}),
                db.createArrayOf("bigint", new Long[] {user, user, user}), "cache",
                db.createArrayOf("bigint", new Long[] {1L, 1L, 2L}),
                db.createArrayOf("uuid", new UUID[] {null, UUID.randomUUID(), request}));
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next())
                    outcomes.add(rows.getString(1));
            }
        }
        System.out.println("items: " + String.join(" ", outcomes));

        // the queue; what is no mode and no bigint wants a cast
        show("queue", call(db, BUY, 1, user, "queue"));
        Row queued = show("submit", call(db, "seckill_submit(?, ?, ?)", 1, user, 1L));
        show("result", call(db, "seckill_result(?, make_interval(secs => ?))", queued.number, 60));
        long ticket;
        try (PreparedStatement statement =
                db.prepareStatement("SELECT outcome, ticket FROM seckill_submit_many(?, ?, ?)")) {
            bind(statement, db.createArrayOf("bigint", new Long[] {1L, 404L}),
                db.createArrayOf("bigint", new Long[] {user, user}),
                db.createArrayOf("bigint", new Long[] {2L, 1L}));
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                ticket = rows.getLong(2);
                String outcome = rows.getString(1);
                rows.next();
                System.out.println("submit many: " + outcome + " " + rows.getString(1));
            }
        }
        try (PreparedStatement statement = db.prepareStatement(
                "SELECT outcome FROM seckill_result_many(?, make_interval(secs => ?))")) {
            bind(statement, db.createArrayOf("bigint", new Long[] {ticket}), 60);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                System.out.println("result many: " + rows.getString(1));
            }
        }
        db.setAutoCommit(false);
        showError("queue in a transaction", db, BUY, 1, user, "queue");
        db.rollback();

        // a transaction, and one that is to be tried again
        show("transaction", call(db, BUY, 1, user, "cache"));
        db.commit();
        Connection other = connect();
        db.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
        for (int attempt = 0; attempt < 2; attempt++) {
            try {
                db.createStatement().execute("SELECT 1");
                if (attempt == 0)
                    call(other, BUY, 1, user, "retry");
                show("repeatable read", call(db, BUY, 1, user, "retry"));
                db.commit();
                break;
            } catch (SQLException error) {
                System.out.println("repeatable read: " + error.getSQLState());
                db.rollback();
            }
        }
        db.setAutoCommit(true);

        // misuse
        showError("null mode", db, BUY, 1, user, null);
        showError("null user", db, BUY, 1, null, "cache");
        showError("unknown mode", db, BUY, 1, user, "chache");
        showError("none", db, BUY_UNITS, 1, user, "cache", 0);
        showError("too many", db, BUY_UNITS, 1, user, "cache", (1L << 32) + 1);
        showError("unknown item", db, BUY, 404, user, "cache");

        // payment
        long order = call(db, "seckill_buy(?, ?)", 10, user).number;
        System.out.println("payment: " + call(db, "seckill_confirm(?, ?)", 10, order).outcome);
        showError("cancel", db, "seckill_cancel(?, ?)", 10, order);
    }
}
