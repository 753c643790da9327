#ifndef CLIENT_IMPORT_H
#define CLIENT_IMPORT_H

/* halftone import: files of documents into a collection.  Returns the exit code. */
int import_main(int argc, char **argv);

#endif /* CLIENT_IMPORT_H */
