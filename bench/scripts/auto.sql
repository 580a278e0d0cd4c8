SELECT seckill_buy(:item, :user, 'auto');
