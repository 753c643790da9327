#include "server/models.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attention/encoder.h"
#include "base/alloc.h"
#include "base/log.h"

struct entry {
	struct model model;
	char *name;
	struct encoder *encoder;
};

struct models {
	struct entry *list; /* by name */
	size_t n;
};

static int
path_of(char path[4096], const char *dir, const char *file, struct error *err)
{
	if ((size_t)snprintf(path, 4096, "%s/%s", dir, file) >= 4096)
		return error_set(err, ERR_INPUT, "the path %.64s... is too long", dir);
	return 0;
}

static void
free_entry(struct entry *entry)
{
	encoder_close(entry->encoder);
	choice_free(&entry->model.binarizers);
	free(entry->name);
}

/* Fill *entry (zeros) with what the subdirectory has. */
static int
open_entry(struct entry *entry, const char *dir, const char *name, struct error *err)
{
	char folder[4096], path[4096];

	if (path_of(folder, dir, name, err) != 0)
		return -1;
	entry->name = array_copy(name, strlen(name));
	if (!entry->name)
		return error_set(err, ERR_MEMORY, "out of memory");
	/* Either file makes it a text model; encoder_open tells what is missing. */
	if (path_of(path, folder, "config.json", err) != 0)
		return -1;
	bool is_text = access(path, F_OK) == 0;
	if (path_of(path, folder, "model.safetensors", err) != 0)
		return -1;
	is_text |= access(path, F_OK) == 0;
	if (is_text && !(entry->encoder = encoder_open(folder, err)))
		return -1;
	entry->model.name = entry->name;
	entry->model.encoder = entry->encoder;
	return choice_read(&entry->model.binarizers, folder, err);
}

static int
add(struct models *models, const char *dir, const char *name, struct error *err)
{
	struct entry entry = {0};

	if (open_entry(&entry, dir, name, err) != 0) {
		free_entry(&entry);
		return error_prefix(err, "model %.100s", name);
	}
	bool no_binarizer = choice_empty(&entry.model.binarizers);
	if (!entry.encoder && no_binarizer) {
		free_entry(&entry);
		return 0;
	}
	struct entry *list =
	    array_resize(models->list, models->n + 1, sizeof *models->list);
	if (!list) {
		free_entry(&entry);
		return error_set(err, ERR_MEMORY, "out of memory for the models");
	}
	models->list = list;
	models->list[models->n++] = entry;
	log_event(LOG_INFO, "model", "name=%s encoder=%s binarizer=%s", name,
	    entry.encoder ? "yes" : "no", no_binarizer ? "no" : "yes");
	return 0;
}

static int
read_dir(struct models *models, const char *dir, struct error *err)
{
	struct dirent **names;

	int n = scandir(dir, &names, NULL, alphasort);
	if (n < 0) {
		bool missing = errno == ENOENT;
		return error_set(err, missing ? ERR_NOT_FOUND : ERR_IO,
		    "models: %s: %s", dir, strerror(errno));
	}
	int result = 0;
	for (int i = 0; i < n; i++) {
		if (result == 0 && names[i]->d_name[0] != '.')
			result = add(models, dir, names[i]->d_name, err);
		free(names[i]);
	}
	free(names);
	return result;
}

static int
by_name(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return strcmp(x->name, y->name);
}

struct models *
models_open(const char *dir, struct error *err)
{
	struct models *models = array_new(1, sizeof *models);

	if (!models) {
		error_set(err, ERR_MEMORY, "out of memory for the models");
		return NULL;
	}
	if (dir && read_dir(models, dir, err) != 0) {
		models_close(models);
		return NULL;
	}
	if (models->n > 0)
		qsort(models->list, models->n, sizeof *models->list, by_name);
	return models;
}

void
models_close(struct models *models)
{
	if (!models)
		return;
	for (size_t i = 0; i < models->n; i++)
		free_entry(&models->list[i]);
	free(models->list);
	free(models);
}

/* text (cap) := the names, as many as fit. */
static void
list_names(char *text, size_t cap, const struct models *models)
{
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < models_count(models); i++) {
		const char *name = models->list[i].name;
		if (n + strlen(name) + 3 > cap)
			break;
		n += (size_t)snprintf(
		    text + n, cap - n, "%s%s", n > 0 ? ", " : "", name);
	}
}

const struct model *
models_find(const struct models *models, const char *name, struct error *err)
{
	char names[96];

	for (size_t i = 0; i < models_count(models); i++)
		if (strcmp(models->list[i].name, name) == 0)
			return &models->list[i].model;
	list_names(names, sizeof names, models);
	error_set(err, ERR_NOT_FOUND, "there is no model called \"%.64s\"; %s%s", name,
	    names[0] ? "there are: " : "the server has no models", names);
	return NULL;
}

size_t
models_count(const struct models *models)
{
	return models ? models->n : 0;
}

const struct model *
models_at(const struct models *models, size_t i)
{
	return &models->list[i].model;
}
