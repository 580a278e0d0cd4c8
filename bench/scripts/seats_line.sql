SELECT rival.book_in_turn(:item, :user, :from::int, :to::int);
