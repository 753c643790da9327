#include <stdio.h>
#include <string.h>

#include "attention/convert_model.h"

/*
 * What sentence-transformers keeps beside a model: its steps (modules.json), how it
 * pools, and what it puts before a text.
 */

#define NAME_MAX_BYTES 256 /* of a step's type or path */

/* What modules.json says, or else its usual content. */
struct steps {
	char transformer[NAME_MAX_BYTES]; /* folders, within the model's */
	char pooling[NAME_MAX_BYTES];
	bool pools;
	bool normalizes;
};

/* A folder of the model must lie within it. */
static int
read_folder(char *out, const struct json *step, struct error *err)
{
	struct json path;

	out[0] = '\0';
	if (!convert_json_member(step, "path", &path))
		return 0;
	if (convert_json_text(out, NAME_MAX_BYTES, &path, "path", err) != 0)
		return -1;
	if (out[0] == '/' || strstr(out, ".."))
		return error_set(err, ERR_FORMAT,
		    "expected a folder within the model's, not \"%s\"", out);
	return 0;
}

/* Step i: the Transformer, Pooling, Normalize. */
static int
read_step(struct steps *steps, size_t i, const struct json *step, struct error *err)
{
	static const char *const names[] = {"Transformer", "Pooling", "Normalize"};
	char type[NAME_MAX_BYTES] = "", folder[NAME_MAX_BYTES];
	struct json value;

	if (!convert_json_member(step, "type", &value))
		return error_set(err, ERR_FORMAT,
		    "expected the \"type\" of step %zu, which is missing", i + 1);
	if (convert_json_text(type, sizeof type, &value, "type", err) != 0 ||
	    read_folder(folder, step, err) != 0)
		return -1;
	/* Where in the package a step lives has changed over the years. */
	const char *dot = strrchr(type, '.');
	if (i >= 3 || strncmp(type, "sentence_transformers.", 22) != 0 ||
	    strcmp(dot + 1, names[i]) != 0)
		return error_set(err, ERR_UNSUPPORTED,
		    "expected the steps Transformer, Pooling, Normalize of "
		    "sentence_transformers, not \"%s\" as step %zu",
		    type, i + 1);
	if (i == 0)
		memcpy(steps->transformer, folder, sizeof folder);
	if (i == 1)
		memcpy(steps->pooling, folder, sizeof folder);
	steps->pools |= i == 1;
	steps->normalizes |= i == 2;
	return 0;
}

static int
read_steps(struct steps *steps, const char *from, struct error *err)
{
	struct convert_json json;
	int rc = convert_json_open(&json, from, "modules.json", true, err);

	*steps = (struct steps){.pooling = "1_Pooling", .pools = true};
	if (rc == 0 && json.bytes) {
		size_t i = 0;
		steps->pools = false;
		struct json_walk walk = json_walk(&json.root);
		while (rc == 0 && json_next(&walk))
			rc = read_step(steps, i++, &walk.value, err);
		if (rc == 0 && i == 0)
			rc = error_set(
			    err, ERR_FORMAT, "expected the step Transformer, not none");
		if (rc != 0)
			error_prefix(err, "%s", json.path);
	}
	convert_json_close(&json);
	return rc;
}

/* Older files say true or false of each mode, newer ones name it. */
static int
parse_pooling(bool *cls, const struct json *root, struct error *err)
{
	static const struct {
		const char *key, *mode;
	} flags[] = {
	    {"pooling_mode_cls_token", "cls"},
	    {"pooling_mode_mean_tokens", "mean"},
	    {"pooling_mode_max_tokens", "max"},
	    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
	    {"pooling_mode_weightedmean_tokens", "weightedmean"},
	    {"pooling_mode_lasttoken", "lasttoken"},
	};
	static const struct convert_wish wishes[] = {{"include_prompt", "true", NULL}};
	char mode[200] = "";
	struct json value;

	if (convert_json_check(root, wishes, 1, err) != 0)
		return -1;
	if (convert_json_member(root, "pooling_mode", &value)) {
		snprintf(mode, sizeof mode, "%.*s",
		    (int)(value.len < 150 ? value.len : 150), value.text);
	} else {
		for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
			size_t n = strlen(mode);
			if (convert_json_member(root, flags[i].key, &value) &&
			    value.type == JSON_TRUE)
				snprintf(mode + n, sizeof mode - n, "%s\"%s\"",
				    n > 0 ? " and " : "", flags[i].mode);
		}
	}
	*cls = strcmp(mode, "\"cls\"") == 0;
	if (!*cls && strcmp(mode, "\"mean\"") != 0)
		return error_set(err, ERR_UNSUPPORTED,
		    "expected the pooling mode as \"mean\" or \"cls\", not %s",
		    mode[0] ? mode : "none");
	return 0;
}

static int
read_pooling(struct convert_config *config, const struct convert_options *options,
    const struct steps *steps, struct error *err)
{
	struct convert_json json;
	char folder[CONVERT_PATH_MAX];

	if (options->pooling) {
		config->cls = strcmp(options->pooling, "cls") == 0;
		if (!config->cls && strcmp(options->pooling, "mean") != 0)
			return error_set(err, ERR_INPUT,
			    "expected the pooling as mean or cls, not \"%s\"",
			    options->pooling);
		return 0;
	}
	if (convert_path(folder, options->from, steps->pooling, err) != 0)
		return -1;
	int rc = convert_json_open(&json, folder, "config.json", true, err);
	if (rc == 0 && (!steps->pools || !json.bytes))
		rc = error_set(err, ERR_UNSUPPORTED,
		    "%s does not say how it pools (1_Pooling/config.json): give "
		    "--pooling mean or --pooling cls, as its authors do",
		    options->from);
	else if (rc == 0 && parse_pooling(&config->cls, &json.root, err) != 0)
		rc = error_prefix(err, "%s", json.path);
	convert_json_close(&json);
	return rc;
}

/* out (CONVERT_PREFIX_MAX + 1) := `given`, or what the model says under one of the two
 * keys. */
static int
choose_prefix(char *out, const char *given, const struct json *prompts,
    const char *const keys[2], struct error *err)
{
	struct json value;

	out[0] = '\0';
	if (given && strlen(given) > CONVERT_PREFIX_MAX)
		return error_set(err, ERR_INPUT,
		    "expected the prefix of a %s in at most %d bytes, not %zu", keys[0],
		    CONVERT_PREFIX_MAX, strlen(given));
	if (given) {
		memcpy(out, given, strlen(given) + 1);
		return 0;
	}
	for (size_t i = 0; i < 2 && keys[i]; i++)
		if (convert_json_member(prompts, keys[i], &value))
			return convert_json_text(
			    out, CONVERT_PREFIX_MAX + 1, &value, keys[i], err);
	return 0;
}

static int
read_prompts(struct convert_config *config, const struct convert_options *options,
    struct error *err)
{
	/* Every text would get it, also one that is neither query nor document. */
	static const struct convert_wish wishes[] = {
	    {"default_prompt_name", "null", NULL}};
	static const char *const query[2] = {"query", NULL};
	static const char *const document[2] = {"document", "passage"};
	struct convert_json json;
	struct json prompts = {JSON_OBJECT, "{}", 2};

	int rc = convert_json_open(
	    &json, options->from, "config_sentence_transformers.json", true, err);
	if (rc == 0) {
		json_member(&json.root, "prompts", &prompts);
		if (convert_json_check(&json.root, wishes, 1, err) != 0 ||
		    choose_prefix(config->query_prefix, options->query_prefix, &prompts,
			query, err) != 0 ||
		    choose_prefix(config->document_prefix, options->document_prefix,
			&prompts, document, err) != 0)
			rc = err->code == ERR_INPUT
				 ? -1
				 : error_prefix(err, "%s", json.path);
	}
	convert_json_close(&json);
	return rc;
}

int
convert_modules_read(struct convert_config *config,
    const struct convert_options *options, struct error *err)
{
	struct steps steps;

	if (read_steps(&steps, options->from, err) != 0)
		return -1;
	if (!steps.transformer[0])
		snprintf(config->folder, sizeof config->folder, "%s", options->from);
	else if (convert_path(config->folder, options->from, steps.transformer, err) !=
		 0)
		return -1;
	/* What is no model at all is told as such, and not that it does not pool. */
	if (convert_config_read(config, err) != 0 ||
	    read_pooling(config, options, &steps, err) != 0 ||
	    read_prompts(config, options, err) != 0)
		return -1;
	config->normalized = steps.normalizes;
	return 0;
}
