#ifndef CLIENT_TRAIN_JOB_H
#define CLIENT_TRAIN_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "binarize/blas.h"
#include "binarize/checkpoint.h"
#include "binarize/recurrent.h"
#include "client/progress.h"
#include "client/train_check.h"
#include "client/train_options.h"
#include "client/train_pairs.h"
#include "client/train_sample.h"

/*
 * One run of `halftone train`, shared by the files train*.c.  Main thread only, which
 * opens OpenMP regions.
 *
 * Memory is the sample's rows, which are centred where they lie, and what a method
 * keeps beside them: a byte a dimension a row of refined codes.
 */
struct training {
	const struct train_options *options;
	struct code_shape shape;    /* of the model */
	struct train_sample sample; /* training rows, then documents, then queries */
	size_t n;                   /* training rows: see train_centre */
	float *mean;                /* (dims) of them before */
	float *centres;             /* (shape.centres, dims); NULL: none */
	struct train_pairs pairs;   /* that the user gave */
	struct blas *blas;
	struct train_check check;
	struct recurrent *older;         /* what the model has to know; NULL: nothing */
	char settings[256], vectors[64]; /* of struct checkpoint_task */

	void *learner; /* the method's own */
	float *best;   /* (n_numbers) of the best model so far */
	size_t n_numbers;
	double best_overlap; /* -1: there is none */
	bool broken_off;     /* a stop was requested before the end */
	struct progress progress;
};

/* How a round of learning has ended. */
struct train_round {
	uint64_t done;  /* turns or steps of the whole training */
	double loss;    /* of the round */
	double overlap; /* of its model, or the best of its models */
	bool last;
};

/* A way to learn, round by round. */
struct train_method {
	const char *unit; /* of its progress */
	const char *loss; /* what the loss is called */

	/* Set t->learner and n_numbers; close is called in any case. */
	int (*open)(struct training *t, struct error *err);
	void (*close)(struct training *t);
	uint64_t (*units)(const struct training *t, uint64_t *done);

	/* ERR_NONE: stopped; the next round goes on from there. */
	int (*round)(struct training *t, struct train_round *round, struct error *err);
	void (*keep)(struct training *t); /* t->best := the last round's model */
	struct recurrent *(*model)(struct training *t, struct error *err); /* t->best */
	void (*parts)(struct training *t, struct checkpoint *checkpoint);
};

extern const struct train_method train_refined, train_gradients;

/* 0 if checkpoints can be written and the one that is there, if any, is of this
 * training: errors as replace_check, which clears away what a training that was killed
 * has left of one, and checkpoint_check. */
int train_loop_check(const struct training *t, struct error *err);

/* Learn until the method ends or a stop is requested, from a checkpoint if there is
 * one; t->best is filled.  ERR_NONE: stopped before there was anything. */
int train_loop(
    struct training *t, const struct train_method *method, struct error *err);

/* Once the result is written: remove the checkpoint, but for a training that was broken
 * off. */
void train_loop_forget(const struct training *t);

/* t->shape.centres := how many there are to be.  ERR_INPUT for more than the rows
 * allow. */
int train_centre_number(struct training *t, struct error *err);

/* Find the centres; make of every training row and pair
 * what lies between it and the nearest centre, or the mean where there are none, at
 * length 1. */
int train_centre(struct training *t, struct error *err);

/* Say what may disappoint, and what to do about it; before rows are centred. */
int train_advise(const struct training *t, struct error *err);

#endif /* CLIENT_TRAIN_JOB_H */
