#ifndef BASE_TENSORS_TYPE_H
#define BASE_TENSORS_TYPE_H

#include "base/tensors.h"

/* What reading and saving tensors share.  Internal to base/tensors*.c; any thread may
 * call. */
#define TENSORS_TYPES 7

/* "F32": the type's name in a header. */
const char *tensors_type_name(enum tensor_type type);

/* Bytes of one element. */
size_t tensors_type_size(enum tensor_type type);

#endif /* BASE_TENSORS_TYPE_H */
