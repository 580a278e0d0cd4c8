SELECT seckill_buy(4, :client_id, 'cache');
