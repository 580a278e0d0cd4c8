# Administration of seckill.items: calls, forms that save a whole row, and changes
# of columns that only the extension may change.
package TortureAdmin;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT_OK = qw(change_item tamper save_form);

sub set_up
{
	my ($load) = @_;

	$load->{columns} = [ map { $_->[0] } @{ $load->control->ask(<<'EOC') } ];
SELECT quote_ident(attname) FROM pg_attribute
WHERE attrelid = 'seckill.items'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum
EOC
	$load->{next_save} = 1;
	return;
}

# A new sale begins.
sub restart
{
	my ($load) = @_;

	$load->{forms} = [];		# [item, whole row as JSON]
	$load->{refused} = {};		# titles of saves that were refused
	return;
}

# The calls of an operator.  The units supplied are known exactly if the call was
# answered, and are one of two values if not.
sub change_item
{
	my ($load) = @_;
	my $item = TortureLoad::counted_item();
	my $supply = $load->{supply}{$item};
	my $units = int(rand(20)) - 8;

	# the call, the units supplied by its answer, and the most that they may be
	my @calls = ([ "SELECT seckill_restock($item, $units)", sub { $units }, abs $units ],
		[ "SELECT seckill_set_available($item, " . int(rand(40)) . ')', sub { $_[0] }, 2000 ],
		[ "SELECT seckill_put_item($item, '{\"title\": \"put\", \"max_waiters\": null}')", sub { 0 }, 0 ]);
	my ($sql, $supplied, $most) = @{ $calls[ rand @calls ] };

	return {
		sql => $sql,
		done => sub {
			my ($session) = @_;
			my ($answer) = $session->row;

			if ($session->{lost})
			{
				@$supply = ($supply->[0] - $most, $supply->[1] + $most);
			}
			elsif (defined $answer)
			{
				$_ += $supplied->($answer) foreach @$supply;
			}
			return;
		} };
}

# Change the columns that only the extension may write.
sub tamper
{
	my ($load) = @_;
	my ($item, $order) = @{ $load->{recent}[ rand @{ $load->{recent} } ] // [ 1, 0 ] };
	my @statements = (
		(map { "UPDATE seckill.items SET $_ WHERE item_id = $item" }
			'version = version + 1', 'version = version - 1', 'leased = leased + 1', 'lease_id = coalesce(lease_id, 0) + 1',
			'supplied = supplied + 1', 'stock = stock + 1, supplied = supplied + 1', 'stock = stock + 1, leased = leased + 1',
			"numbers = '{[1,1000000)}'"),
		(map { "UPDATE seckill.orders SET $_ WHERE item_id = $item AND order_id = $order" }
			'quantity = quantity + 1', 'user_id = user_id + 1', 'lease_id = coalesce(lease_id, 0) + 1', 'limited = NOT limited',
			'request_id = gen_random_uuid()', "mode = CASE mode WHEN 'cache' THEN 'retry' ELSE 'cache' END::seckill_mode",
			"state = CASE state WHEN 'confirmed' THEN 'expired' ELSE 'confirmed' END::seckill_order_state",
			"created_at = created_at - interval '1 s'", 'order_id = -order_id', 'unit = coalesce(unit, 0) + 1000000'),
		"UPDATE seckill.units SET code = 'x' WHERE item_id = $item");
	my $sql = $statements[ rand @statements ] . ' RETURNING 1';

	return {
		sql => $sql,
		# a constraint may speak first
		expects => qr/^(0A000|23514|23503|55000)/,
		done => sub {
			my ($session) = @_;

			$load->finding("accepted: $sql") if $session->row;
			return;
		} };
}

#
# Forms.  A form reads a whole row, changes some columns, and saves all columns.
#

sub save_form
{
	my ($load) = @_;
	my $forms = $load->{forms};
	my $item = TortureLoad::counted_item();
	my $read = "SELECT to_jsonb(i) FROM seckill.items i WHERE item_id = $item";

	return save($load, @{ $forms->[ rand @$forms ] }) if @$forms && rand() < 0.3;
	my $locked = rand() < 0.3;
	return {
		sql => $locked ? "BEGIN; $read FOR " . (rand() < 0.5 ? 'UPDATE' : 'NO KEY UPDATE') : $read,
		done => sub {
			my ($session) = @_;
			my ($row) = $session->row;

			return $locked && !$session->{lost} ? $load->plain('ROLLBACK') : undef unless defined $row;
			push @$forms, [ $item, $row ];
			shift @$forms if @$forms > 20;
			return save($load, $item, $row, $locked);
		} };
}

# locked: nobody can have changed the row since it was read.
sub save
{
	my ($load, $item, $row, $locked) = @_;
	my $title = 'save ' . $load->{next_save}++;
	# units with numbers are not put on sale by an UPDATE
	my $units = rand() < 0.5 && !TortureLoad::is_numbered($item) ? 1 + int(rand(5)) : 0;
	my $supply = $load->{supply}{$item};
	my ($stock) = $row =~ /"stock": (\d+)/;
	my $change = sprintf('{"title": "%s", "stock": %d}', $title, $stock + $units);
	my $sql = save_statement($load, $item, "jsonb_populate_record(NULL::seckill.items, '$row'::jsonb || '$change')");

	$supply->[1] += $units;
	return {
		sql => $locked ? "$sql; COMMIT" : $sql,
		done => sub {
			my ($session) = @_;

			return if $session->{lost};
			if (!$session->{error})
			{
				$supply->[0] += $units;
				return;
			}
			$supply->[1] -= $units;
			$load->{refused}{$title} = 1;
			return unless $locked;
			$load->finding("a row that was locked cannot be saved: $session->{message}: $sql")
			  unless $session->{error} =~ /^(57|40P01|55P03|SKF00)/;
			return $load->plain('ROLLBACK');
		} };
}

# Some set the key, to what it is.
sub save_statement
{
	my ($load, $item, $record) = @_;
	my $columns = join(', ', @{ $load->{columns} });
	my $key = rand() < 0.3;
	my @set = grep { $key || $_ ne 'item_id' } @{ $load->{columns} };
	my $set = join(', ', @set);
	my @forms = (
		"UPDATE seckill.items SET ($set) = (SELECT $set FROM $record) WHERE item_id = $item",
		"INSERT INTO seckill.items ($columns) SELECT $columns FROM $record ON CONFLICT (item_id) DO UPDATE SET "
		  . join(', ', map { "$_ = EXCLUDED.$_" } @set),
		"MERGE INTO seckill.items i USING $record r ON i.item_id = r.item_id WHEN MATCHED THEN UPDATE SET "
		  . join(', ', map { "$_ = r.$_" } @set)
		  . " WHEN NOT MATCHED THEN INSERT ($columns) VALUES (" . $columns =~ s/(\w+)/r.$1/gr . ')');

	return ($key ? '/* key */ ' : '') . $forms[ rand @forms ];
}

# A refused save changes nothing.
sub check
{
	my ($load) = @_;

	$load->finding("item $_->[0] has the title of a save that was refused: $_->[1]")
	  foreach grep { $load->{refused}{ $_->[1] } }
	  @{ $load->control->ask('SELECT item_id, title FROM seckill.items WHERE title IS NOT NULL') };
	return;
}

1;
