"""One folder per thing we drive: database, object store, codecs; and their in-memory twins."""
