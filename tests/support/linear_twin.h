#ifndef TESTS_SUPPORT_LINEAR_TWIN_H
#define TESTS_SUPPORT_LINEAR_TWIN_H

#include "attention/linear.h"
#include "base/rng.h"

/*
 * A kernel of attention/linear.h against the scalar one, on a random layer and random
 * tokens, every buffer ending at an unreadable page.  Needs no test framework, so that
 * it runs under an emulated processor too.
 */
struct linear_twin {
	enum linear_form form;
	size_t in, out, n;
	enum linear_then then;
};

/* 0 if the results have the same bits (and nothing else of y was written); ERR_FORMAT
 * says for which case they have not, and where. */
int linear_twin_compare(const struct linear_kernel *kernel,
    const struct linear_twin *twin, struct rng *rng, struct error *err);

/* linear_twin_compare over all forms and ends of a pass: small layers with 1 .. 40
 * tokens, some with more than a pass holds, the widest layers, large and tied numbers.
 * `odds`: of the cases, run one in so many, for kernels that are emulated slowly. */
int linear_twin_compare_all(const struct linear_kernel *kernel, size_t odds,
    struct rng *rng, struct error *err);

#endif /* TESTS_SUPPORT_LINEAR_TWIN_H */
