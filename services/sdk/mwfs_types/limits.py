"""Bounds that every type and value keeps to, so that no input can exhaust a service."""

#: Levels of nesting of a type. protobuf refuses to parse messages of more than 100 levels, and a record in a record is three.
MAX_DEPTH = 24
#: Levels of nesting inside a value that is read without a type (what a semantic type carries inline).
MAX_VALUE_DEPTH = 32
#: Fields of a record, members of an enum.
MAX_FIELDS = 1000
MAX_UNION_ARMS = 32
#: Serialised bytes of one type.
MAX_TYPE_BYTES = 256 * 1024
#: Characters of the name of a class, field, member, parameter or output.
MAX_NAME = 256
#: Characters of a file name or of `module.qualname`.
MAX_LONG_NAME = 1024
#: Serialised bytes of a value that is put together from others, and of the arguments of one node: they travel in one message.
MAX_TOGETHER_BYTES = 32 * 1024 * 1024
#: Serialised bytes of the results of a control node, which are kept in the object store.
MAX_COLLECTED_BYTES = 64 * 1024 * 1024
#: Any timeout of an operator: a year.
MAX_TIMEOUT_SECONDS = 366 * 86_400
#: The wait before another attempt.
MAX_BACKOFF_SECONDS = 30 * 86_400
#: Attempts of one run at the same time, where a run says so.
MAX_PARALLEL = 1_000_000
#: Of an operator, and of a run; either side of 0.
MAX_PRIORITY = 1_000_000
