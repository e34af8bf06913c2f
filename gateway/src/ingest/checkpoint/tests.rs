//! The bytes of version 1, and files that are not to be believed.
