#ifndef CLIENT_TRAIN_H
#define CLIENT_TRAIN_H

/* halftone train: a binarizer from vectors.  Returns the exit code. */
int train_main(int argc, char **argv);

#endif /* CLIENT_TRAIN_H */
