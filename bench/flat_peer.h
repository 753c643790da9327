#ifndef BENCH_FLAT_PEER_H
#define BENCH_FLAT_PEER_H

#include <stddef.h>
#include <stdint.h>

#define FLAT_PEER_DIMS 512
#define FLAT_PEER_QUERIES 128
#define FLAT_PEER_K 10

/*
 * Flat search for a bench that takes turns with a peer, by one thread.
 *
 * The file has rows of FLAT_PEER_DIMS dimensions, the last FLAT_PEER_QUERIES of which
 * are queries: with bits = 0 wire codes of 1 bit, searched by Hamming distance; else
 * floats of length 1, coded by the untrained rotation, searched by int8 queries.
 *
 * Prints the kernel's name; for each line on stdin it answers all queries, `batch`
 * (that divides them) at a time, and prints "WALL CPU", seconds a query; at the end of
 * input the rows that were found, FLAT_PEER_K a query.
 */
void flat_peer_rounds(const char *path, uint32_t bits, size_t batch);

#endif /* BENCH_FLAT_PEER_H */
