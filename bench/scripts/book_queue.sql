SELECT outcome FROM seckill_book(:item, :user, :from, :to, mode => 'queue');
