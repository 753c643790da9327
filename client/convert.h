#ifndef CLIENT_CONVERT_H
#define CLIENT_CONVERT_H

/* halftone convert: a model of the BERT family into one that we serve.  Returns the
 * exit code. */
int convert_main(int argc, char **argv);

#endif /* CLIENT_CONVERT_H */
