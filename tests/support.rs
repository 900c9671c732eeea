//! What the tests share: where the shared data lies, and how a test says that it was skipped.
