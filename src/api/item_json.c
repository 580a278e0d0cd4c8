/*
 * item_json.c
 *		The settings of an item, read from a JSON object.
 *
 * The keys are the columns of seckill.items that a user may set.  Each value
 * has the JSON type that fits its column, and the input function of the
 * column's type converts it, so a bad value raises that function's error.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "api/item_json.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "sale/item.h"
#include "table/item_settings.h"

/* The keys of the settings object, with the types of column and JSON value. */
static const struct
{
	const char *name;
	Oid			type;
	enum jbvType json;
}			settings[] = {
	[SETTING_TITLE] = {"title", TEXTOID, jbvString},
	[SETTING_STARTS_AT] = {"starts_at", TIMESTAMPTZOID, jbvString},
	[SETTING_ENDS_AT] = {"ends_at", TIMESTAMPTZOID, jbvString},
	[SETTING_PER_USER_LIMIT] = {"per_user_limit", INT4OID, jbvNumeric},
	[SETTING_LIMIT_WINDOW] = {"limit_window", INTERVALOID, jbvString},
	[SETTING_REQUIRE_TOKEN] = {"require_token", BOOLOID, jbvBool},
	[SETTING_PAY_WITHIN] = {"pay_within", INTERVALOID, jbvString},
	[SETTING_USER_RATE] = {"user_rate", FLOAT4OID, jbvNumeric},
	[SETTING_USER_BURST] = {"user_burst", INT4OID, jbvNumeric},
	[SETTING_MAX_WAITERS] = {"max_waiters", INT4OID, jbvNumeric},
	[SETTING_NUMBERED] = {"numbered", BOOLOID, jbvBool},
	/* of the extension's own type */
	[SETTING_REVEAL_ON] = {"reveal_on", InvalidOid, jbvString},
	[SETTING_LEGS] = {"legs", INT4OID, jbvNumeric},
	/* not a setting, but the units of a new item */
	[ITEM_SETTINGS] = {"stock", INT4OID, jbvNumeric}
};

#define HINT_SETTINGS \
	errhint("Settings are the strings title, starts_at, ends_at, limit_window, pay_within and reveal_on, the integers per_user_limit, user_burst, max_waiters and legs, the number user_rate, and the booleans require_token and numbered; a new item needs the integer stock, too. Null resets a setting.")

/* The number of a setting; raises an error if there is none of this name. */
static int
find_setting(const char *name)
{
	for (int i = 0; i < NAMES; i++)
		if (strcmp(settings[i].name, name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("an item has no setting \"%s\"", name),
			 HINT_SETTINGS));
}

SECKILL_NORETURN static void
wrong_type(int setting)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("setting \"%s\" has a value of the wrong type",
					settings[setting].name),
			 HINT_SETTINGS));
}

/* A JSON value as text; raises an error if it is not of the setting's type. */
static char *
json_text(int setting, JsonbValue *value)
{
	char	   *text = NULL;

	if (value->type == jbvString)
		text = pnstrdup(value->val.string.val, value->val.string.len);

	else if (value->type == jbvBool)
		text = value->val.boolean ? "true" : "false";

	else if (value->type == jbvNumeric)
		text = DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(value->val.numeric)));

	if (value->type != settings[setting].json ||
		(settings[setting].type == INT4OID &&
		 strspn(text, "-0123456789") != strlen(text)))
		wrong_type(setting);
	return text;
}

/* Error context callback: name the setting. */
static void
name_setting(void *setting)
{
	errcontext("setting \"%s\"", settings[*(int *) setting].name);
}

/* Convert the text to the type of the setting, by its input function. */
static Datum
read_value(int setting, char *text)
{
	ErrorContextCallback context;
	Oid			type = settings[setting].type;
	Oid			input;
	Oid			parameter;
	Datum		value;

	if (type == InvalidOid)
		type = seckill_catalog()->state_type;
	context.callback = name_setting;
	context.arg = &setting;
	context.previous = error_context_stack;
	error_context_stack = &context;
	getTypeInputInfo(type, &input, &parameter);
	value = OidInputFunctionCall(input, text, parameter, -1);
	error_context_stack = context.previous;
	return value;
}

/* Add one setting to the change; null resets it. */
static void
read_setting(Change *change, int setting, JsonbValue *value)
{
	change->named[setting] = true;
	change->count += setting != STOCK;
	change->nulls[setting] = false;
	if (value->type != jbvNull)
		change->values[setting] = read_value(setting,
											 json_text(setting, value));
	else if (setting != STOCK)
		seckill_item_reset_setting(setting, &change->values[setting],
								   &change->nulls[setting]);
	else
		wrong_type(setting);
}

/*
 * Read the settings of an item into *change.  Raises an error unless json is
 * an object of known settings with valid values.
 */
void
seckill_json_read_settings(Jsonb *json, Change *change)
{
	JsonbIterator *iterator;
	JsonbValue	value;
	JsonbIteratorToken token;

	memset(change, 0, sizeof(*change));
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("settings must be a JSON object"),
				 HINT_SETTINGS));
	iterator = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
		if (token == WJB_KEY)
		{
			int			setting = find_setting(pnstrdup(value.val.string.val,
														value.val.string.len));

			(void) JsonbIteratorNext(&iterator, &value, true);
			read_setting(change, setting, &value);
		}
}
