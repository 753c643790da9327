#ifndef CLIENT_EVAL_H
#define CLIENT_EVAL_H

/* halftone eval: how well a collection, or a model, finds judged documents.  Returns the exit code. */
int eval_main(int argc, char **argv);

#endif /* CLIENT_EVAL_H */
