#include <stdlib.h>
#include <string.h>

#include "attention/convert_model.h"
#include "attention/file.h"
#include "attention/wordpiece.h"
#include "base/alloc.h"
#include "base/text.h"

/* The pieces of a model: its vocab.txt, or what would stand there, from the
 * tokenizer.json that newer versions of transformers save alone. */
#define VOCABULARY_BYTES_MAX ((size_t)512 << 20)

/* What the tokenizer must be for our pieces to be its own. */
static int
check_tokenizer(const struct json *root, struct error *err)
{
	static const struct convert_wish normalizer_wishes[] = {
	    {"type", "\"BertNormalizer\"", NULL},
	    {"lowercase", "true", NULL},
	    {"strip_accents", "true", NULL},
	    {"clean_text", "true", NULL},
	    {"handle_chinese_chars", "true", NULL},
	};
	static const struct convert_wish splitter_wishes[] = {
	    {"type", "\"BertPreTokenizer\"", NULL},
	};
	static const struct convert_wish model_wishes[] = {
	    {"type", "\"WordPiece\"", NULL},
	    {"unk_token", "\"[UNK]\"", NULL},
	    {"continuing_subword_prefix", "\"##\"", NULL},
	    {"max_input_chars_per_word", "100", NULL},
	};
	static const struct {
		const char *name;
		const struct convert_wish *wishes;
		size_t n;
	} parts[] = {
	    {"normalizer", normalizer_wishes, 5},
	    {"pre_tokenizer", splitter_wishes, 1},
	    {"model", model_wishes, 4},
	};

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		struct json part;
		if (!convert_json_member(root, parts[i].name, &part))
			return error_set(err, ERR_UNSUPPORTED,
			    "expected \"%s\", which is missing", parts[i].name);
		if (convert_json_check(&part, parts[i].wishes, parts[i].n, err) != 0)
			return error_prefix(err, "\"%s\"", parts[i].name);
	}
	return 0;
}

/* keys (n) := the pieces by their ids, which are 0 .. n - 1, each once. */
static int
sort_pieces(struct json *keys, size_t n, const struct json *pieces, struct error *err)
{
	struct json_walk walk = json_walk(pieces);

	while (json_next(&walk)) {
		uint64_t id;
		if (!json_u64(&id, &walk.value) || id >= n || keys[id].text)
			return error_set(err, ERR_FORMAT,
			    "expected the ids 0 .. %zu in \"vocab\", each once, not "
			    "%.*s",
			    n - 1, walk.value.len < 40 ? (int)walk.value.len : 40,
			    walk.value.text);
		keys[id] = walk.key;
	}
	return 0;
}

/* *out := a line for each piece, in the order of their ids. */
static int
write_pieces(struct text *out, const struct json *pieces, struct error *err)
{
	size_t n = json_count(pieces);
	struct json *keys = array_new(n, sizeof *keys);
	int rc = -1;

	if (!keys)
		return error_set(err, ERR_MEMORY, "no memory for %zu pieces", n);
	if (sort_pieces(keys, n, pieces, err) != 0)
		goto end;
	for (size_t id = 0; id < n; id++) {
		char *room = text_room(out, keys[id].len + 1);
		if (!room)
			break;
		size_t length = json_string(room, keys[id].len, &keys[id]);
		if (memchr(room, '\n', length) || memchr(room, '\r', length)) {
			error_set(err, ERR_UNSUPPORTED,
			    "expected pieces without line ends, not piece %zu", id);
			goto end;
		}
		room[length] = '\n';
		out->n += length + 1;
	}
	rc =
	    out->failed ? error_set(err, ERR_MEMORY, "no memory for %zu pieces", n) : 0;
end:
	free(keys);
	return rc;
}

/* *out := vocab.txt from the open tokenizer.json. */
static int
make_pieces(struct text *out, const struct json *root, struct error *err)
{
	struct json model, pieces;

	if (check_tokenizer(root, err) != 0)
		return -1;
	if (!convert_json_member(root, "model", &model) ||
	    !convert_json_member(&model, "vocab", &pieces) ||
	    pieces.type != JSON_OBJECT)
		return error_set(err, ERR_FORMAT, "expected an object \"vocab\"");
	return write_pieces(out, &pieces, err);
}

static int
from_tokenizer(struct text *out, const char *folder, struct error *err)
{
	struct convert_json json;

	int rc = convert_json_open(&json, folder, "tokenizer.json", true, err);
	if (rc == 0 && !json.bytes)
		rc = error_set(err, ERR_NOT_FOUND,
		    "%s: expected vocab.txt or tokenizer.json, and found neither",
		    folder);
	else if (rc == 0 && make_pieces(out, &json.root, err) != 0)
		rc = error_prefix(err, "%s", json.path);
	convert_json_close(&json);
	return rc;
}

/* A prefix must leave at least half of the pieces to the text. */
static int
check_prefix(const struct wordpiece *wordpiece, const struct convert_config *config,
    const char *name, const char *prefix, struct error *err)
{
	const size_t max = config->pieces_max / 2;
	struct wordpiece_ids pieces = {.cap = 0};
	uint32_t ids[CONVERT_PREFIX_MAX];

	pieces.ids = ids;
	pieces.cap = CONVERT_PREFIX_MAX;
	if (wordpiece_encode(wordpiece, &pieces, prefix, strlen(prefix), err) != 0)
		return error_prefix(err, "the %s", name);
	if (prefix[0] && pieces.n + 2 > max)
		return error_set(err, ERR_UNSUPPORTED,
		    "expected a %s of at most %zu pieces, [CLS] and [SEP] among them, "
		    "not %zu: it must leave half of the model's %zu to the text",
		    name, max, pieces.n + 2, config->pieces_max);
	return 0;
}

/* What config says of the pieces. */
static int
look_up(struct convert_config *config, const struct wordpiece *wordpiece,
    const char *path, struct error *err)
{
	config->vocabulary = wordpiece_size(wordpiece);
	const char *missing =
	    !wordpiece_find(wordpiece, "[CLS]", &config->cls_id)   ? "[CLS]"
	    : !wordpiece_find(wordpiece, "[SEP]", &config->sep_id) ? "[SEP]"
								   : NULL;
	if (config->vocabulary > config->rows)
		return error_set(err, ERR_FORMAT,
		    "%s: expected at most %zu lines (vocab_size in config.json), not "
		    "%zu",
		    path, config->rows, config->vocabulary);
	if (missing)
		return error_set(err, ERR_FORMAT,
		    "%s: expected the piece %s, which is missing", path, missing);
	if (check_prefix(
		wordpiece, config, "query prefix", config->query_prefix, err) != 0)
		return -1;
	return check_prefix(
	    wordpiece, config, "document prefix", config->document_prefix, err);
}

char *
convert_vocabulary_read(struct convert_config *config, size_t *n, struct error *err)
{
	char path[CONVERT_PATH_MAX];

	if (convert_path(path, config->folder, "vocab.txt", err) != 0)
		return NULL;
	char *bytes = file_read(path, VOCABULARY_BYTES_MAX, n, err);
	if (!bytes && err->code == ERR_NOT_FOUND) {
		struct text text = {0};
		if (from_tokenizer(&text, config->folder, err) != 0) {
			text_free(&text);
			return NULL;
		}
		bytes = text.bytes;
		*n = text.n;
	}
	if (!bytes)
		return NULL;
	struct wordpiece *wordpiece = wordpiece_new(bytes, *n, err);
	if (!wordpiece)
		error_prefix(err, "%s", path);
	int rc = wordpiece ? look_up(config, wordpiece, path, err) : -1;
	wordpiece_close(wordpiece);
	if (rc != 0) {
		free(bytes);
		return NULL;
	}
	config->pieces = bytes;
	return bytes;
}
