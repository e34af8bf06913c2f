//! The promises of Weir, each as a test.
