#include "attention/convert.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "attention/convert_model.h"
#include "attention/file.h"
#include "base/alloc.h"

/* Make the folder if it is not there; it must not be the model's own. */
static int
make_output(const struct convert_options *options, struct error *err)
{
	struct stat from, to;

	if (mkdir(options->output, 0777) != 0 && errno != EEXIST)
		return error_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
		    "%s: %s", options->output, strerror(errno));
	if (stat(options->from, &from) != 0 || stat(options->output, &to) != 0)
		return error_set(
		    err, ERR_IO, "%s: %s", options->output, strerror(errno));
	if (!S_ISDIR(to.st_mode))
		return error_set(err, ERR_IO, "%s: expected a folder", options->output);
	if (from.st_dev == to.st_dev && from.st_ino == to.st_ino)
		return error_set(err, ERR_INPUT,
		    "expected another folder than the model's own for the output, not "
		    "%s",
		    options->output);
	return 0;
}

/* The weights first: a folder without config.json is no model, also while a model that
 * was there before is being replaced: its config.json must not come to stand beside
 * other weights of the same shapes. */
static int
write_files(const struct convert_options *options, const struct convert_config *config,
    size_t pieces_bytes, struct error *err)
{
	char weights[CONVERT_PATH_MAX], words[CONVERT_PATH_MAX], json[CONVERT_PATH_MAX];

	if (convert_path(weights, options->output, "model.safetensors", err) != 0 ||
	    convert_path(words, options->output, "vocab.txt", err) != 0 ||
	    convert_path(json, options->output, "config.json", err) != 0)
		return -1;
	if (unlink(json) != 0 && errno != ENOENT)
		return error_set(err, ERR_IO, "%s: %s", json, strerror(errno));
	if (convert_weights_write(weights, config, options->layers, err) != 0 ||
	    file_write(words, config->pieces, pieces_bytes, err) != 0)
		return -1;
	return convert_config_write(json, config, options->layers, err);
}

static void
summarize(struct convert_summary *summary, const struct convert_config *config)
{
	*summary = (struct convert_summary){
	    .layers = config->layers,
	    .dims = config->dims,
	    .vocabulary = config->vocabulary,
	    .pieces_max = config->pieces_max,
	    .cls = config->cls,
	    .normalized = config->normalized,
	};
	memcpy(
	    summary->query_prefix, config->query_prefix, sizeof summary->query_prefix);
	memcpy(summary->document_prefix, config->document_prefix,
	    sizeof summary->document_prefix);
}

int
convert_model(struct convert_summary *summary, const struct convert_options *options,
    struct error *err)
{
	struct convert_config *config = array_new(1, sizeof *config);
	char *vocabulary = NULL;
	size_t n;
	int rc = -1;

	assert(options->layers == LINEAR_INT8 || options->layers == LINEAR_FLOAT);
	if (!config)
		return error_set(err, ERR_MEMORY, "no memory for a model");
	if (convert_modules_read(config, options, err) != 0)
		goto end;
	vocabulary = convert_vocabulary_read(config, &n, err);
	if (!vocabulary ||
	    convert_source_hash(&config->coordinates, config, err) != 0 ||
	    make_output(options, err) != 0 || write_files(options, config, n, err) != 0)
		goto end;
	summarize(summary, config);
	rc = 0;
end:
	free(vocabulary);
	free(config);
	return rc;
}
