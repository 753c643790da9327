#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum kind { TEXT, NUMBER, SIZE, SWITCH };

struct key {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *value; /* default */
	uint64_t min;
	uint64_t max;
	const char *help;
};

#define AT(field) offsetof(struct config, field)
#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

static const struct key keys[] = {
    {"data", TEXT, AT(data), "", 0, 0, "DIR      the folder of the store (required)"},
    {"listen", TEXT, AT(listen), "127.0.0.1:6333", 0, 0,
	"ADDR:PORT  where to serve; [ADDR]:PORT for IPv6, port 0 = any free one"},
    {"models", TEXT, AT(models), "", 0, 0,
	"DIR    text models and binarizers; default: models/ beside the program's "
	"folder"},
    {"threads", NUMBER, AT(threads), "0", 0, 256, "N     0 = one a processor"},
    {"api_key_file", TEXT, AT(api_key_file), "", 0, 0,
	"F  clients must send the key on its first line"},
    {"insecure", SWITCH, AT(insecure), "false", 0, 1,
	"       allow a public address without a key"},
    {"config", TEXT, AT(config), "", 0, 0, "F      a file of key = value lines"},
    {"log_level", TEXT, AT(log_level), "info", 0, 0, "L   debug, info, warn or error"},
    {"max_body_bytes", SIZE, AT(max_body_bytes), "32MiB", KIB(1), GIB(1),
	"N  of one request"},
    {"max_bodies_bytes", SIZE, AT(max_bodies_bytes), "256MiB", KIB(1), GIB(64),
	"N  of all requests at once"},
    {"max_answer_bytes", SIZE, AT(max_answer_bytes), "32MiB", KIB(1), GIB(1),
	"N  of one answer's points or embeddings; more get 400"},
    {"max_answers_bytes", SIZE, AT(max_answers_bytes), "256MiB", KIB(1), GIB(64),
	"N  of all answers that are not sent yet; more get 429"},
    {"max_header_bytes", SIZE, AT(max_header_bytes), "16KiB", 512, MIB(1),
	"N  request line and headers"},
    {"max_connections", NUMBER, AT(max_connections), "1024", 1, 65536, "N"},
    {"max_in_flight", NUMBER, AT(max_in_flight), "512", 1, 65536,
	"N  requests being answered; more get 429"},
    {"request_timeout_s", NUMBER, AT(request_timeout_s), "60", 1, 86400,
	"N  to receive a whole request, and to send its answer"},
    {"filter_timeout_s", NUMBER, AT(filter_timeout_s), "60", 1, 86400,
	"N  for a request until its filters have found their rows, or a page its "
	"points"},
    {"idle_timeout_s", NUMBER, AT(idle_timeout_s), "60", 1, 86400,
	"N  without a request on an open connection"},
    {"stop_timeout_s", NUMBER, AT(stop_timeout_s), "10", 0, 3600,
	"N  for requests in flight when told to stop"},
    {"max_points_per_request", NUMBER, AT(max_points_per_request), "10000", 1, 1000000,
	"N  also passages"},
    {"max_limit", NUMBER, AT(max_limit), "10000", 1, 1000000,
	"N  hits of one query, and its offset"},
    {"max_searches", NUMBER, AT(max_searches), "1000", 1, 65536,
	"N  of one batch of queries"},
    {"max_payload_bytes", SIZE, AT(max_payload_bytes), "64KiB", 2, MIB(16),
	"N  JSON text of one point"},
    {"max_text_bytes", SIZE, AT(max_text_bytes), "64KiB", 1, MIB(16),
	"N  of one text to embed"},
    {"max_passages", NUMBER, AT(max_passages), "1000", 1, 4096,
	"N  of one text to embed with \"chunk\": true"},
    {"max_inputs", NUMBER, AT(max_inputs), "2048", 1, 65536,
	"N  texts of one embeddings request"},
    {"max_texts_bytes", SIZE, AT(max_texts_bytes), "256MiB", KIB(1), GIB(64),
	"N  of all texts that are being embedded, with their vectors; more get 429"},
    {"max_batch", NUMBER, AT(max_batch), "64", 1, 64, "N  queries that share one scan"},
    {"max_queued_searches", NUMBER, AT(max_queued_searches), "4096", 64, 1000000,
	"N  searches waiting for a scan; more get 429"},
    {"max_queued_writes", NUMBER, AT(max_queued_writes), "65536", 1, 1000000,
	"N  writes waiting for the disk; more get 429"},
    {"max_queued_bytes", SIZE, AT(max_queued_bytes), "256MiB", KIB(1), GIB(64),
	"N  of all writes waiting for the disk"},
    {"map_bytes", SIZE, AT(map_bytes), "256GiB", MIB(1), GIB(16384),
	"N  address space of the store: its largest size"},
};
#define N_KEYS (sizeof keys / sizeof *keys)

static const struct key *
find_key(const char *name, size_t n)
{
	for (size_t i = 0; i < N_KEYS; i++) {
		if (strlen(keys[i].name) == n && strncmp(keys[i].name, name, n) == 0)
			return &keys[i];
	}
	return NULL;
}

static int
parse_number(uint64_t *out, const struct key *key, const char *value, struct error *err)
{
	char *end = NULL;
	errno = 0;
	uint64_t n = strtoull(value, &end, 10);
	unsigned shift = 0;
	if (key->kind == SIZE && strcmp(end, "KiB") == 0)
		shift = 10;
	else if (key->kind == SIZE && strcmp(end, "MiB") == 0)
		shift = 20;
	else if (key->kind == SIZE && strcmp(end, "GiB") == 0)
		shift = 30;
	if (shift)
		end += 3;
	if (!isdigit((unsigned char)value[0]) || *end || errno ||
	    n > UINT64_MAX >> shift || n << shift < key->min || n << shift > key->max)
		return error_set(err, ERR_INPUT,
		    "%s: expected a whole number from %" PRIu64 " to %" PRIu64
		    "%s, not '%.60s'",
		    key->name, key->min, key->max,
		    key->kind == SIZE ? " bytes (KiB, MiB, GiB may follow)" : "",
		    value);
	*out = n << shift;
	return 0;
}

static int
set(struct config *config, const struct key *key, const char *value, struct error *err)
{
	char *field = (char *)config + key->offset;
	if (key->kind == TEXT) {
		if (strlen(value) >= CONFIG_TEXT_MAX)
			return error_set(err, ERR_INPUT,
			    "%s: expected at most %d bytes, not %zu", key->name,
			    CONFIG_TEXT_MAX - 1, strlen(value));
		memcpy(field, value, strlen(value) + 1);
		return 0;
	}
	if (key->kind == SWITCH) {
		bool on = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
		if (!on && strcmp(value, "false") != 0 && strcmp(value, "0") != 0)
			return error_set(err, ERR_INPUT,
			    "%s: expected true or false, not '%.60s'", key->name,
			    value);
		*(bool *)(void *)field = on;
		return 0;
	}
	uint64_t n = 0;
	if (parse_number(&n, key, value, err))
		return -1;
	memcpy(field, &n, sizeof n);
	return 0;
}

/* The text without white space at its ends. */
static char *
trim(char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t n = strlen(text);
	while (n && isspace((unsigned char)text[n - 1]))
		text[--n] = '\0';
	return text;
}

static int
read_line(struct config *config, char *line, struct error *err)
{
	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	char *equals = strchr(line, '=');
	if (!equals)
		return error_set(
		    err, ERR_INPUT, "expected 'key = value', not '%.60s'", line);
	*equals = '\0';
	char *name = trim(line);
	const struct key *key = find_key(name, strlen(name));
	if (!key || key->offset == AT(config))
		return error_set(err, ERR_INPUT,
		    "no such key: '%.60s'; --print-config shows them all", name);
	return set(config, key, trim(equals + 1), err);
}

static int
read_file(struct config *config, const char *path, struct error *err)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return error_set(err, ERR_IO, "config: %s: %s", path, strerror(errno));
	char line[2 * CONFIG_TEXT_MAX];
	int rc = 0;
	for (int n = 1; rc == 0 && fgets(line, sizeof line, file); n++) {
		if (!strchr(line, '\n') && !feof(file))
			rc = error_set(err, ERR_INPUT,
			    "expected lines of at most %zu bytes", sizeof line - 2);
		else
			rc = read_line(config, line, err);
		if (rc)
			error_prefix(err, "%s:%d", path, n);
	}
	if (rc == 0 && ferror(file))
		rc = error_set(err, ERR_IO, "config: %s: %s", path, strerror(errno));
	fclose(file);
	return rc;
}

/* The key that HALFTONE_X names; NULL for another variable. */
static const struct key *
env_key(const char *variable, const char **value)
{
	static const char prefix[] = "HALFTONE_";
	const char *equals = strchr(variable, '=');
	if (!equals || strncmp(variable, prefix, sizeof prefix - 1) != 0)
		return NULL;
	char name[64] = "";
	size_t n = (size_t)(equals - variable) - (sizeof prefix - 1);
	if (n < sizeof name) {
		for (size_t i = 0; i < n; i++) {
			unsigned char c =
			    (unsigned char)variable[sizeof prefix - 1 + i];
			name[i] = (char)tolower(c);
		}
	}
	*value = equals + 1;
	const struct key *key = find_key(name, strlen(name));
	if (!key)
		log_event(LOG_WARN, "config", "unused_variable=%.*s",
		    (int)(equals - variable), variable);
	return key;
}

static int
read_environment(struct config *config, char *const envp[], struct error *err)
{
	for (; *envp; envp++) {
		const char *value = NULL;
		const struct key *key = env_key(*envp, &value);
		if (key && set(config, key, value, err))
			return error_prefix(err, "in the environment");
	}
	return 0;
}

/* Whether the flag asks for something else than serving. */
static bool
is_action(enum config_action *action, const char *flag)
{
	static const char *const names[] = {[CONFIG_HELP] = "--help",
	    [CONFIG_VERSION] = "--version",
	    [CONFIG_PRINT] = "--print-config",
	    [CONFIG_HEALTHCHECK] = "--healthcheck"};
	for (size_t i = CONFIG_HELP; i < sizeof names / sizeof *names; i++) {
		if (strcmp(flag, names[i]) == 0) {
			*action = (enum config_action)i;
			return true;
		}
	}
	return false;
}

/* Take one flag with its value from argv; *next is what follows it. */
static int
read_flag(
    struct config *config, char *const *argv, char *const **next, struct error *err)
{
	const char *flag = argv[0];
	char name[64] = "";
	const char *equals = strchr(flag, '=');
	size_t n = equals ? (size_t)(equals - flag) : strlen(flag);
	if (strncmp(flag, "--", 2) == 0 && n > 2 && n - 2 < sizeof name) {
		for (size_t i = 0; i < n - 2; i++)
			name[i] = flag[i + 2];
	}
	for (char *c = name; *c; c++)
		*c = *c == '-' ? '_' : *c == '_' ? '?' : *c;
	const struct key *key = find_key(name, strlen(name));
	if (!key)
		return error_set(
		    err, ERR_INPUT, "no such flag: '%.60s'; see --help", flag);
	*next = argv + 1;
	const char *value = equals ? equals + 1 : "true";
	if (!equals && key->kind != SWITCH) {
		value = argv[1];
		if (!value || strncmp(value, "--", 2) == 0)
			return error_set(err, ERR_INPUT,
			    "%s: expected a value, not %s; a value may follow '='",
			    flag, value ? value : "the end");
		*next = argv + 2;
	}
	return set(config, key, value, err);
}

static int
read_flags(struct config *config, enum config_action *action, char *const argv[],
    struct error *err)
{
	for (char *const *arg = argv + 1; *arg;) {
		if (is_action(action, *arg))
			arg++;
		else if (read_flag(config, arg, &arg, err))
			return -1;
	}
	return 0;
}

int
config_load(struct config *config, enum config_action *action, char *const argv[],
    char *const envp[], struct error *err)
{
	struct config loaded = {0};
	enum config_action wanted = CONFIG_RUN;
	for (size_t i = 0; i < N_KEYS; i++) {
		if (set(&loaded, &keys[i], keys[i].value, err))
			return -1;
	}
	/* A first round over a copy only finds out which file to read. */
	struct config first = loaded;
	if (read_environment(&first, envp, err) ||
	    read_flags(&first, &wanted, argv, err))
		return -1;
	if (first.config[0] && read_file(&loaded, first.config, err))
		return -1;
	log_set_level(LOG_ERROR); /* the first round has warned */
	if (read_environment(&loaded, envp, err) ||
	    read_flags(&loaded, &wanted, argv, err))
		return -1;
	static const char *const levels[] = {"debug", "info", "warn", "error"};
	size_t level = 0;
	while (level < 4 && strcmp(levels[level], loaded.log_level) != 0)
		level++;
	if (level == 4)
		return error_set(err, ERR_INPUT,
		    "log_level: expected debug, info, warn or error, not '%.60s'",
		    loaded.log_level);
	log_set_level((enum log_level)level);
	*config = loaded;
	*action = wanted;
	return 0;
}

void
config_print(FILE *out, const struct config *config)
{
	for (size_t i = 0; i < N_KEYS; i++) {
		const struct key *key = &keys[i];
		const char *field = (const char *)config + key->offset;
		if (key->offset == AT(config))
			continue; /* a file cannot name a file */
		if (key->kind == TEXT) {
			fprintf(out, "%s = %s\n", key->name, field);
		} else if (key->kind == SWITCH) {
			fprintf(out, "%s = %s\n", key->name,
			    *(const bool *)(const void *)field ? "true" : "false");
		} else {
			uint64_t n;
			memcpy(&n, field, sizeof n);
			fprintf(out, "%s = %" PRIu64 "\n", key->name, n);
		}
	}
}

void
config_help(FILE *out)
{
	fputs("usage: halftone-server --data DIR [options]\n"
	      "Serves binary embeddings over HTTP (Qdrant's REST shapes, OpenAI's\n"
	      "/v1/embeddings); the page is at /ui.\n\n",
	    out);
	for (size_t i = 0; i < N_KEYS; i++) {
		const struct key *key = &keys[i];
		char flag[64];
		snprintf(flag, sizeof flag, "%s", key->name);
		for (char *c = flag; *c; c++)
			*c = *c == '_' ? '-' : *c;
		fprintf(out, "  --%s %s", flag, key->help);
		if (key->value[0] && key->kind != SWITCH)
			fprintf(out, " [%s]", key->value);
		fputc('\n', out);
	}
	fputs("  --print-config   print every key with its value, and leave\n"
	      "  --healthcheck    ask the server at --listen whether it is ready: exit "
	      "0 or 1\n"
	      "  --help, --version\n\n"
	      "Each key may also stand in the environment (HALFTONE_MAX_BODY_BYTES) or "
	      "in\n"
	      "the file of --config (max_body_bytes = 1MiB).  Flags stand above the\n"
	      "environment, that above the file.  SIMD=scalar|neon|avx2|avx512|amx\n"
	      "limits the instructions used.  Exit codes: 0, 1 failed, 2 usage.\n",
	    out);
}
