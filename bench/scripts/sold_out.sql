SELECT seckill_buy(2, :client_id, 'cache');
