#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "client/convert.h"
#include "client/embed.h"
#include "client/eval.h"
#include "client/import.h"
#include "client/options.h"
#include "client/search.h"
#include "client/train.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
    {"import", import_main, "files of documents into a collection"},
    {"search", search_main, "the documents of a collection nearest to a text"},
    {"embed", embed_main, "lines of text to float vectors, without a server"},
    {"convert", convert_main, "a model of the BERT family into one that we serve"},
    {"train", train_main, "a binarizer learned from vectors"},
    {"eval", eval_main, "nDCG, recall and overlap on judged queries"},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void
help(FILE *to)
{
	fputs("usage: halftone COMMAND [OPTIONS] ...\n\nCommands:\n", to);
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\n\"halftone COMMAND --help\" tells a command's options; --version "
	      "prints the version.\nExit codes: 0 done, 1 failed, 2 wrong use.\n",
	    to);
}

int
main(int argc, char **argv)
{
	enum cpu_level ceiling;
	struct error err;
	signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of a write */
	if (argc < 2) {
		help(stderr);
		return OPTIONS_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		help(stdout);
		return OPTIONS_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("halftone " HALFTONE_VERSION);
		return OPTIONS_OK;
	}
	/* A wish that cannot be met would else be met by something slower. */
	if (cpu_ceiling(&ceiling, &err) == -1) {
		fprintf(stderr, "halftone: %s\n", err.text);
		return OPTIONS_USAGE;
	}
	for (size_t i = 0; i < N_COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr,
	    "halftone: expected a command (import, search, embed, convert, "
	    "train, eval), not \"%s\"\n"
	    "Try \"halftone --help\".\n",
	    argv[1]);
	return OPTIONS_USAGE;
}
