SELECT count(*) FROM seckill_buy_many(:item, ARRAY(SELECT generate_series(:user::bigint, :user::bigint + 99)));
