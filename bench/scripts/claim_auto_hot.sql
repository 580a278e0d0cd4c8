SELECT seckill_claim(:item, :user, 'auto');
