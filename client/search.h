#ifndef CLIENT_SEARCH_H
#define CLIENT_SEARCH_H

/* halftone search: search a collection for the documents nearest to a text.  Returns
 * the exit code. */
int search_main(int argc, char **argv);

#endif /* CLIENT_SEARCH_H */
