//! The objects of one track that a relay has.
