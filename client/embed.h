#ifndef CLIENT_EMBED_H
#define CLIENT_EMBED_H

/* halftone embed: lines of text to float vectors, without a server.  Returns the exit
 * code. */
int embed_main(int argc, char **argv);

#endif /* CLIENT_EMBED_H */
