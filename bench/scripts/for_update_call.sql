\set user random(1, 1000000)
SELECT rival.buy_for_update(1, :user);
