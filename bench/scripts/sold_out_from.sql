SELECT outcome, order_id FROM seckill_buy(2, :client_id, 'cache');
