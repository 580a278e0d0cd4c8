SELECT count(*) FROM seckill_submit_many(ARRAY(SELECT 1 + n % 8 FROM generate_series(0, 99) n), ARRAY(SELECT generate_series(:user::bigint, :user::bigint + 99)));
