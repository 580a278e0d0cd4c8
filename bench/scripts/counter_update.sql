UPDATE rival.items SET stock = stock - 1 WHERE item_id = :item AND stock >= 1;
